"""What a writer is told, and what it refuses to be told."""

import pytest

from haymaker.errors import ConfigError
from haymaker.writing.config import WriterConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base_url": "http://user:hunter2@127.0.0.1/v1"}, "keys belong in the environment"),
        ({"base_url": "http://127.0.0.1/v1?key=hunter2"}, "keys belong in the environment"),
        ({"base_url": "ftp://hunter2"}, "expected an address like"),
        ({"api_key": "hunter2"}, "unknown key api_key"),
        ({"extra": {"model": "other"}}, "set by the writer itself"),
        ({"words": 10**9}, "words: expected a value less than or equal to 100000"),
        ({"concurrency": 10**9}, "concurrency: expected a value less than or equal to 4096"),
        ({"spend_cap_dollars": 3.0}, "needs dollars_per_million"),
    ],
)
def test_configs_that_cannot_be_used_say_so_without_what_may_be_a_secret(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        WriterConfig(**{"model": "m", **values})
    assert "hunter2" not in str(caught.value)
