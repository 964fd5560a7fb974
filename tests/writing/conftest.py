"""What a run of a writer needs in tests: a key in the environment, and waits of milliseconds."""

import pytest


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    from writer_runs import KEY  # here, since a conftest is loaded before the check of types is in place

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("haymaker.writing.limits.BASE_SECONDS", 0.002)
    monkeypatch.setattr("haymaker.writing.limits.LONGEST_BACKOFF_SECONDS", 0.02)
