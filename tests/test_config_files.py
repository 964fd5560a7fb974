"""Files of configs: what people write, and what is none."""

from pathlib import Path

import pytest

from haymaker.config_files import read_yaml
from haymaker.errors import ConfigError

BOMB = "a: &a0 [1]\n" + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "aliases repeat more than"),
        (b"a: &a [*a]", "aliases repeat more than"),
        ("a: 1".encode("utf-16"), "cannot be decoded"),
        ("a: 1".encode("utf-16-le"), "line 1 holds NUL, as UTF-16 does; save the file as UTF-8"),
        (b"", "expected a mapping"),
        (b"- 1", "expected a mapping"),
    ],
)
def test_a_file_that_is_no_config(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"config\.yaml: .*{message}"):
        read_yaml(path)


def test_aliases_and_marks_that_people_write(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("\ufeffa: &same {rows: 1}\r\nb: {<<: *same, seed: 2}\r\n".encode())
    assert read_yaml(path) == {"a": {"rows": 1}, "b": {"rows": 1, "seed": 2}}
