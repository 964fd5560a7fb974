"""Pre-training of the miniature: rows that teach what they say, and a run that resumes bit for bit."""

from dataclasses import replace
from pathlib import Path

import pretrain as script
import pytest
import torch
from lessons import FULL, LEDGER, TERSE, Phase, row
from pretrain import PretrainConfig
from transformers import PreTrainedTokenizerBase

from haymaker.miniature.world import World
from haymaker.models.packaged import MINIATURES

TINY = PretrainConfig(
    hidden=16,
    layers=1,
    heads=2,
    key_value_heads=1,
    head_dim=8,
    feed_forward=16,
    warmup_steps=1,
    phases=(Phase(2, 64, 128, LEDGER, 1.0, 0.01, 0.01), Phase(2, 96, 192, FULL, 0.5, 0.01, 0.0)),
)


@pytest.mark.parametrize(
    "shares", [LEDGER, TERSE, FULL, {"symbolic": 1.0}], ids=["ledger", "terse", "full", "symbolic"]
)
def test_rows_fit_and_every_answer_stands_in_a_document(shares: dict, tokenizer: PreTrainedTokenizerBase) -> None:
    phase = Phase(1, 96, 96, shares, 0.5, 0.0, 0.0)
    for key in range(60):
        text, spans = row(
            World("pretrain"), key, phase, lambda part: len(tokenizer(part, add_special_tokens=False).input_ids)
        )
        assert len(tokenizer(text).input_ids) <= 96
        assert text.startswith("[1] ")
        documents = text.split("\nQuestion:")[0]
        for span in spans:
            answer = text[span.slice]
            assert answer.startswith(" ")
            assert answer.endswith("<|end|>")
            assert answer.removesuffix("<|end|>") in documents


def test_schedule_runs_through_the_phases() -> None:
    assert TINY.steps == 4
    assert [TINY.at(step)[0].length for step in range(4)] == [64, 64, 96, 96]
    # The second phase goes from 0.01 to 0 in two steps: full rate, then half of it.
    assert [TINY.at(step)[1] for step in range(4)] == pytest.approx([1.0, 1.0, 1.0, 0.5])
    with pytest.raises(IndexError):
        TINY.at(4)


def run(folder: Path, config: PretrainConfig) -> dict[str, torch.Tensor]:
    script.pretrain(config, folder, MINIATURES / "llama", compiled=False, device="cpu")
    return script.load_file(folder / "state.safetensors")


def test_a_run_that_stopped_ends_like_one_that_did_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "accuracy", lambda *_, **__: 0.0)
    monkeypatch.setattr(script, "SAVE_EVERY", 3)
    whole = run(tmp_path / "whole", TINY)

    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    steps = iter(range(10))
    original = script.train_step
    monkeypatch.setattr(script, "train_step", lambda *parts: stop() if next(steps) == 3 else original(*parts))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", TINY)
    resumed = run(tmp_path / "stopped", TINY)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_both_architectures_and_grouped_queries(tokenizer: PreTrainedTokenizerBase) -> None:
    llama = script.new_model(TINY, len(tokenizer))
    mistral = script.new_model(replace(TINY, architecture="mistral", window=32), len(tokenizer))
    assert llama.config.num_key_value_heads == 1
    assert mistral.config.sliding_window == 32


def test_the_shipped_shape_is_within_its_limits(tokenizer: PreTrainedTokenizerBase) -> None:
    config = PretrainConfig()
    model = script.new_model(config, len(tokenizer))
    assert config.context == 128
    assert config.layers >= 4
    assert config.heads >= 8
    assert config.key_value_heads < config.heads
    assert sum(p.numel() for p in model.parameters()) <= 3_000_000
