"""The Hub is asked only for what is not here, and what cannot be had is said at once."""

import time
from pathlib import Path

import pytest

from haymaker.errors import ModelError
from haymaker.models import hub, load
from haymaker.models.load import load_model


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_, **__) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)


def test_an_id_in_the_cache_is_read_without_asking(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setattr(load, "hub_snapshot", lambda name: model_folder)
    lm = load_model("owner/name")
    assert lm.name == "owner/name"


def test_half_a_model_in_the_cache_is_none(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    (model_folder / "model.safetensors").unlink()
    monkeypatch.setattr(load, "hub_snapshot", lambda name: model_folder)
    with pytest.raises(ModelError, match="owner/name: not in the local Hub cache, and the Hub cannot be reached"):
        load_model("owner/name")


def test_without_a_network_the_answer_comes_at_once(monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    monkeypatch.setattr(load, "hub_snapshot", lambda name: None)
    before = time.perf_counter()
    with pytest.raises(ModelError, match=r"Name or service not known\); run `hf download owner/name`"):
        load_model("owner/name")
    assert time.perf_counter() - before < 2  # transformers alone retries for half a minute


def test_offline_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        hub.check_hub("owner/name")


@pytest.mark.parametrize(
    ("error", "message"), [("RepositoryNotFoundError", "knows no model"), ("GatedRepoError", "accept its terms")]
)
def test_what_the_hub_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, error: str, message: str) -> None:
    import huggingface_hub.errors

    kind = getattr(huggingface_hub.errors, error)

    def answer(*_, **__) -> None:
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", answer)
    with pytest.raises(ModelError, match=message):
        hub.check_hub("owner/name")
