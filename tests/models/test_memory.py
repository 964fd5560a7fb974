"""How much goes through a model at once: a byte model, and what happens where it was wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from any_architecture import tiny_config

from haymaker.evaluation.predictions import Evaluation, evaluate
from haymaker.heads.detection import detect_heads
from haymaker.heads.scores import HeadScores
from haymaker.interventions.ablation import ablate, ablate_sets
from haymaker.interventions.causal import causal_map, set_effects
from haymaker.interventions.patching import patch, patch_many
from haymaker.models import memory
from haymaker.models.batching import LONG
from haymaker.models.load import LanguageModel
from haymaker.models.memory import packed_rows_that_fit, token_bytes, tokens_that_fit
from haymaker.models.shapes import Shape, shape_of
from haymaker.records import Example, Label, Message, Segment


def examples(count: int = 4) -> list[Example]:
    """Questions over a document with a needle, of about one length."""
    gold = tuple(
        piece.within(Label("evidence", 1))
        for piece in (Segment("[1] Dito lives in "), Segment("Kalo", (Label("answer"),)), Segment(".\n"))
    )
    prompts = [
        (*gold, Segment("Question: Where" + "." * i), Segment("?", (Label("question"),)), Segment("\nAnswer:"))
        for i in range(count)
    ]
    return [Example(f"e{i}", "mdqa", (Message("user", prompt),), "?", ("Kalo",)) for i, prompt in enumerate(prompts)]


SHAPE = Shape(2, 8, 8, 4, 2, 16, 10, 4, 0, 0)


def test_bytes_of_a_token_by_hand() -> None:
    """Cache 4 * 2 * 4 * (2 + 1) = 96 a token, of which there are 20 for a prompt of 10; logits 10 * (4 + 8) = 120 a
    row; a layer 4 * (4 * 8 + 3 * 16) + 8 * 8 = 384; a probed row 8 * 2 = 16; a row of the mask 10 * (1 + 4) = 50."""
    assert token_bytes(SHAPE, 10, 10, 1) == (96 * 20 + 120) / 10 + 384 + 16 + 50
    assert token_bytes(SHAPE, 10, 10, 1, eager=True) == 654 + 8 * 2 * 10  # all scores, twice in float32
    assert token_bytes(SHAPE, LONG + 1, 0, 0) < token_bytes(SHAPE, LONG, 0, 0)  # long rows have no mask


def test_batches_grow_with_the_free_memory_by_powers_of_two(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    found, packed = [], []
    for exponent in range(10, 44):
        monkeypatch.setattr(memory, "free_bytes", lambda _, free=1 << exponent: free)
        found.append(tokens_that_fit(lm.model, [40, 90], 8))
        packed.append(packed_rows_that_fit(lm.model, 90))
        assert tokens_that_fit(lm.model, [40, 90], 8, copies=2) in (max(1, found[-1] // 2), found[-1])
    assert found == sorted(found)
    assert packed == sorted(packed)
    assert (found[0], found[-1], packed[0], packed[-1]) == (1, 16_384, 1, 1_024)
    assert tokens_that_fit(lm.model, [40, 90], 0) == 4_096  # a batch that is read is what Ctrl-C waits for
    assert all(number & (number - 1) == 0 for number in found + packed)


@pytest.mark.parametrize("kind", ["gemma3n_text", "gemma4_text", "rwkv", "gpt2", "qwen3_next", "deepseek_v3"])
def test_every_architecture_has_bytes(kind: str) -> None:
    assert token_bytes(shape_of(tiny_config(kind), 2, 0, 1), 100, 10, 1) > 0


# ---- memory that runs out once


def answers(found: Evaluation) -> tuple[list[Any], list[bool]]:
    assert found.row()["halved"] == found.halved == sum(one.halved for one in found.predictions)
    return [one.text for one in found.predictions], [one.halved for one in found.predictions]


def values(found: HeadScores) -> tuple[list[Any], list[bool]]:
    halved = found.provenance.get("halved", [])
    return found.values.round(4).tolist(), [name in halved for name in found.example_ids]


def losses(found: np.ndarray) -> tuple[list[Any], list[bool]]:
    return found.round(4).tolist(), []


SETS = [[(0, 1)], [], [(2, 2), (1, 3)]]
USES: dict[str, Callable[[LanguageModel], tuple[list[Any], list[bool]]]] = {
    "evaluate": lambda lm: answers(evaluate(lm, examples(4), 5)),
    "ablate": lambda lm: answers(ablate(lm, examples(4), SETS[0], 5)),
    "ablate sets one by one": lambda lm: answers(ablate_sets(lm, examples(4), SETS, 5)[2]),
    "ablate sets together": lambda lm: answers(ablate_sets(lm, examples(4), SETS, 5, scope="last+decode")[2]),
    "patch one batch": lambda lm: answers(patch(lm, lm, examples(4), SETS[0], 5)),
    "patch many": lambda lm: answers(patch_many(lm, lm, examples(4), dict(zip("abc", SETS, strict=True)), 5)["c"]),
    "patch two models": lambda lm: answers(patch(lm, lm, examples(4), SETS[0], 5, mode="two models")),
    "heads, gold": lambda lm: values(detect_heads(lm, examples(4))),
    "heads, own": lambda lm: values(detect_heads(lm, examples(4), answer="own", new_tokens=5)),
    "causal map": lambda lm: values(causal_map(lm, examples(4))),
    "causal map, all": lambda lm: values(causal_map(lm, examples(4), scope="all")),
    "effects of sets": lambda lm: losses(set_effects(lm, examples(4), SETS)),
}
ERRORS = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("name", USES)
def test_memory_that_runs_out_once_changes_nothing_but_the_record(
    name: str, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use, left = USES[name], 0
    expected, halved = use(lm)
    assert not any(halved)
    module = lm.base.model.layers[2].mlp
    real = module.forward

    def fail_once(*given: Any, **named: Any) -> torch.Tensor:
        nonlocal left
        left -= 1
        if left == 0:
            raise ERRORS[len(name) % 2]
        return real(*given, **named)

    monkeypatch.setattr(module, "forward", fail_once)
    for left in (1, 2):
        found, halved = use(lm)
        assert left <= 0  # it has failed
        assert found == expected
        assert not halved or any(halved)
        assert capsys.readouterr().err.count("computed in halves") == 1
    assert "haymaker" not in str(lm.base.config._attn_implementation)


def test_a_bound_on_rows_changes_no_answer(lm: LanguageModel) -> None:
    counts: list[int] = []
    whole = evaluate(lm, examples(4), 5)
    assert evaluate(lm, examples(4), 5, batch=2, on_progress=counts.append) == whole
    assert counts == [2, 2]
    alone = [ablate(lm, examples(2), heads, 5, scope="decode") for heads in SETS]
    assert ablate_sets(lm, examples(2), SETS, 5, scope="decode", batch=1) == alone
    one, all_ = (causal_map(lm, examples(2), batch=size) for size in (1, None))
    np.testing.assert_allclose(one.values, all_.values, atol=1e-4)
    assert replace(one, values=all_.values).provenance == all_.provenance
