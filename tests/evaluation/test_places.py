"""Depth, length and hops of rows, and scores by them, by hand."""

from math import isnan
from typing import Any

import pytest

from haymaker.errors import ConfigError
from haymaker.evaluation.places import depth_of, grouped, hops_of
from haymaker.records import Encoded, Example, Label, Message, Prediction, Segment, Span


def encoded(*labelled: tuple[str, int, int]) -> Encoded:
    """30 tokens of prompt, of which labels say what they are; 3 of answer."""
    spans = tuple((Label(kind, i), Span(start, stop)) for i, (kind, start, stop) in enumerate(labelled))  # type: ignore[arg-type]
    return Encoded("e", tuple(range(33)), 30, spans)


CONTEXT = (("document", 5, 15), ("document", 15, 25))  # 20 tokens between an instruction and a question


@pytest.mark.parametrize(
    ("labelled", "depth"),
    [
        ((*CONTEXT, ("evidence", 5, 9)), 0.0),
        ((*CONTEXT, ("evidence", 21, 25)), 1.0),
        ((*CONTEXT, ("evidence", 13, 17)), 0.5),  # (13 - 5) / (20 - 4)
        ((*CONTEXT, ("evidence", 5, 9), ("evidence", 21, 25)), 0.5),  # the mean of 0 and 1
        ((*CONTEXT, ("evidence", 31, 32)), None),  # in the answer, not in the prompt
        (CONTEXT, None),
        ((("evidence", 5, 25),), None),  # nothing beside it
        ((("evidence", 21, 23), ("evidence", 25, 29)), None),  # from one to the other is not the context
    ],
)
def test_depth_by_hand(labelled: Any, depth: float | None) -> None:
    assert depth_of(encoded(*labelled)) == depth


def test_hops_are_pieces_of_evidence() -> None:
    pieces = [Segment("a", (Label("evidence", i),)) for i in (0, 1, 1)]
    example = Example("e", "t", (Message("user", (*pieces[:2], Segment("b"), pieces[2])),), "?", ("a",))
    assert hops_of(example) == 2  # of the second there are two pieces of text
    assert hops_of(Example("e", "t", (Message("user", (Segment("b"),)),), "?", ("a",))) == 0


def answer(score: float, depth: float | None, tokens: int, hops: int | None, unread: bool = False) -> Prediction:
    about = {"example_id": "e", "text": "", "answers": ("a",), "finish_reason": "stop", "generated_tokens": 1}
    given = {"scores": {"squad_f1": float(score)}, "prompt_tokens": tokens, "depth": depth, "hops": hops}
    return Prediction(**about, **given, unread=("squad_f1",) if unread else ())  # type: ignore[arg-type]


ANSWERS = [answer(1, 0.0, 512, 2), answer(0, 0.19, 513, 2), answer(1, 1.0, 300, 3), answer(0, None, 40, None, True)]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("depth", [("0.0-0.2", 2, 0.5, 1.0), ("0.8-1.0", 1, 1.0, 1.0), ("unknown", 1, 0.0, 0.0)]),
        ("length", [("33-64", 1, 0.0, 0.0), ("257-512", 2, 1.0, 1.0), ("513-1024", 1, 0.0, 1.0)]),
        ("hops", [("2", 2, 0.5, 1.0), ("3", 1, 1.0, 1.0), ("unknown", 1, 0.0, 0.0)]),
    ],
)
def test_groups_by_hand(by: str, expected: list[tuple[str, int, float, float]]) -> None:
    rows = grouped(ANSWERS, by, "squad_f1")
    assert [(row["group"], row["n"], row["score"], row["parsed"]) for row in rows] == expected
    several = [row for row in rows if row["n"] > 1]
    assert all(row["score_low"] <= row["score"] <= row["score_high"] for row in several)
    assert all(isnan(row["score_low"]) and isnan(row["score_high"]) for row in rows if row not in several)
    assert {row["by"] for row in rows} == {by}
    assert sum(row["n"] for row in rows) == len(ANSWERS)


def test_another_grouping_is_refused() -> None:
    with pytest.raises(ConfigError, match="by: expected depth, length, hops, found 'colour'"):
        grouped(ANSWERS, "colour", "squad_f1")
