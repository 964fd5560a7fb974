"""What a ranking says of itself: by rules over rows made by hand, each of which is broken alone."""

from typing import Any

import pytest

import haymaker as hm
from haymaker.errors import LengthError
from haymaker.recommender.ranking import Ranking

COSTS = {"writer_tokens": 0, "build_seconds": 0.0, "training_hours": 0.5, "full_rows": 1000, "full_steps": 250}


def row(name: str, loss: float, rank: int | None = None, **more: Any) -> dict[str, Any]:
    bounds = {"loss": loss, "loss_low": loss - 0.1, "loss_high": loss + 0.1}
    scores = {"metric": "squad_f1", "score": 0.3, "score_low": 0.2, "score_high": 0.4}
    return {"rank": rank, "candidate": name, "by": "loss"} | bounds | scores | (COSTS if rank else {}) | more


def ranking(**changes: dict[str, Any]) -> Ranking:
    """Two candidates, one plainly better, between a better real probe and a worse untrained model."""
    rows = [row("good", 1.0, 1, first=0.99), row("poor", 2.0, 2, first=0.01), row("untrained", 3.0), row("real", 0.9)]
    return Ranking(one | changes.get(one["candidate"], {}) for one in rows)


EVERY = ("good", "poor", "real")
UNDECIDED: dict[str, dict[str, Any]] = {
    "no probe answers a real row right": {name: {"score": 0.0} for name in EVERY},
    "a training on real rows is no better in loss than one on good;": {"real": {"loss": 1.0}},
    "a training on real rows is no better in loss than one on good, poor;": {"real": {"loss": 2.5}},
    "good does not lower the loss of the untrained model": {"untrained": {"loss": 1.0}},
    "good comes first in 93% of draws": {"good": {"first": 0.932}},
}


@pytest.mark.parametrize("reason", UNDECIDED)
def test_what_keeps_rows_from_deciding_is_said(reason: str) -> None:
    plain, said = ranking().verdict, ranking(**UNDECIDED[reason]).verdict
    assert plain.startswith("the real rows tell the first from the others. Bounds apart from the first's: poor;")
    assert said.startswith("these rows do not decide: ")
    assert reason in f"{said.partition('. Bounds')[0]};"
    assert plain.rpartition("; ")[2] == said.rpartition("; ")[2]  # which of several good ones is best is never decided


@pytest.mark.parametrize(("by", "sign"), [("loss", 1), ("score", -1), ("longattn", -1)])
@pytest.mark.parametrize("gap", [0.05, 0.15, 0.3])
def test_apart_are_bounds_that_share_nothing_on_the_worse_side(by: str, sign: int, gap: float) -> None:
    def told(value: float) -> dict[str, Any]:
        return {"by": by, by: value, f"{by}_low": value - 0.1, f"{by}_high": value + 0.1, "first": None}

    found = ranking(good=told(0.5), poor=told(0.5 + sign * gap))
    assert f"first's: {'poor' if gap > 0.2 else 'none'};" in found.verdict


def test_what_is_printed_is_the_table_with_costs_and_verdict() -> None:
    found = ranking(good={"score": None, "loss_low": float("nan")})
    head, *lines = str(found).splitlines()
    assert head.split()[:4] == ["rank", "candidate", "measure", "bounds"]
    assert [line.split()[:2] for line in lines[:2]] == [["1", "good"], ["2", "poor"]]
    assert "estimated" in str(found)
    assert str(found).endswith(found.verdict)
    assert "nan" not in str(found)


def test_all_rows_beyond_the_context_are_told_before_anything_is_trained(lm: hm.LanguageModel) -> None:
    def rows(*words: int) -> list[dict[str, Any]]:
        return [
            {"messages": [{"role": "user", "content": f"{i} mill" * n}, {"role": "assistant", "content": "Ada"}]}
            for i, n in enumerate(words)
        ]

    def tokens(given: list[dict[str, Any]]) -> int:
        return max(len(hm.encode(one, lm.tokenizer)) for one in hm.read_examples(given))

    long, longer, short = rows(9, 2_000, 2_000), rows(9, 3_000), rows(*[9] * 8)
    with pytest.raises(LengthError) as found:
        hm.recommend(lm, {"a": short, "b": long, "c": longer}, short)
    said = str(found.value)
    assert "b: 2 of 3 rows (qa-" in said
    assert "c: 1 of 2 rows (qa-" in said
    assert "a: " not in said
    assert f"--extend {tokens(longer)}," in said
