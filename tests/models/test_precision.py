"""Which precision, how many threads. Laws: the rule word for word; who chose is left alone; answers stay float32."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_rows import random_rows
from transformers import LlamaConfig

from haymaker.config import Recipe
from haymaker.data.builder import build
from haymaker.errors import ConfigError
from haymaker.heads.detection import detect_heads
from haymaker.models import precision
from haymaker.models.generation import Decoder
from haymaker.models.load import load_model
from haymaker.models.precision import DTYPES, choose_threads, chosen_dtype, computed_by, threads_with_amx

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def torchs_own_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four threads, chosen by nobody, and as many as before when the test ends."""
    before = torch.get_num_threads()
    for name in precision.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(precision, "OWN_THREADS", 4)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def amx(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(precision, "has_amx", lambda: there)


@pytest.mark.parametrize(
    ("stored", "width", "has", "expected"),
    [
        ("bfloat16", 576, True, torch.bfloat16),
        ("float16", 512, True, torch.bfloat16),
        ("bfloat16", 510, True, torch.float32),  # too narrow to gain
        ("bfloat16", 576, False, torch.float32),  # nothing multiplies it fast
        ("float32", 576, True, torch.float32),  # it would lose digits that it has
        (None, 576, True, torch.float32),
    ],
)
def test_auto_on_a_cpu_is_bfloat16_where_all_three_speak_for_it(
    stored: str | None, width: int, has: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    amx(monkeypatch, has)
    config = LlamaConfig(hidden_size=width, num_attention_heads=1, dtype=stored and DTYPES[stored])
    assert chosen_dtype("auto", CPU, config) == expected
    assert chosen_dtype("auto", GPU, config) == (stored and DTYPES[stored] or "auto")
    assert {chosen_dtype(name, place, config) for name in DTYPES for place in (CPU, GPU)} == set(DTYPES.values())


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected auto, float32, bfloat16, float16, found 'half'"):
        chosen_dtype("half", CPU, LlamaConfig())


def test_bfloat16_leaves_a_core_free_and_float32_takes_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    amx(monkeypatch, True)
    for dtype, expected in ((torch.bfloat16, 3), (torch.float32, 4), (torch.bfloat16, 3), (torch.float16, 4)):
        choose_threads(dtype, CPU)
        assert torch.get_num_threads() == expected
    assert [threads_with_amx(cores) for cores in (1, 2, 3, 64)] == [1, 1, 2, 63]


@pytest.mark.parametrize("who", ["nobody has AMX", "a caller", "the environment", "a GPU computes"])
def test_threads_that_somebody_chose_are_left_alone(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    amx(monkeypatch, who != "nobody has AMX")
    if who == "a caller":
        torch.set_num_threads(2)
    if who == "the environment":
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
    before = torch.get_num_threads()
    choose_threads(torch.bfloat16, GPU if who == "a GPU computes" else CPU)
    assert torch.get_num_threads() == before


def test_loading_follows_the_rule_and_says_so(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amx(monkeypatch, True)
    monkeypatch.setattr(precision, "WIDE", 32)
    load_model(model_folder, dtype="bfloat16").model.save_pretrained(model_folder)
    lm = load_model(model_folder)
    assert computed_by(lm.model) | {"processor": ""} == {
        "device": "cpu", "dtype": "bfloat16", "threads": 3, "processor": ""
    }  # fmt: skip
    assert precision.processor()
    load_model(model_folder, dtype="float32")
    assert torch.get_num_threads() == 4


def test_logits_of_answers_and_head_scores_are_float32_whatever_the_model(model_folder: Path) -> None:
    lm = load_model(model_folder, dtype="bfloat16")
    decoder = Decoder(lm.model, [row.prompt_ids for row in random_rows(2)])
    assert decoder.prefill().dtype == decoder.step(torch.tensor([5, 6])).dtype == torch.float32
    miniature = load_model("miniature-llama", dtype="bfloat16")
    rows = build(Recipe(task="niah", setting="low-low", length=128, rows=2), miniature.tokenizer)
    scores = detect_heads(miniature, rows, metric="mass")
    assert scores.values.dtype.itemsize >= 4
    assert (scores.values * 256 % 1).any()  # more digits than bfloat16 has
    assert scores.provenance["dtype"] == "bfloat16"
