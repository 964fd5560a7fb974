"""Detectors: scores by hand on planted attention, and against an eager oracle on a tiny random model."""

import numpy as np
import pytest
import torch

from haymaker.errors import ConfigError, DataError, LengthError
from haymaker.heads import DETECTORS, Sight, detect_heads
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded, Example, Label, Message, Segment, Span
from haymaker.tokens import encode

# Prompt tokens 10 11 12 13 11; the needle is tokens 1 and 2 (ids 11, 12); the answer is 11 12 and an end token 1.
PLANTED = Encoded("planted", (10, 11, 12, 13, 11, 11, 12, 1), 5, ((Label("answer"), Span(1, 3)),))


def sight(*top_positions: list[int]) -> Sight:
    """One layer, one head per list of attended positions (a list holds one position per answer row)."""
    top = torch.tensor([top_positions])
    return Sight(PLANTED, [Span(1, 3)], top, torch.full(top.shape, 0.25))


@pytest.mark.parametrize(
    ("attended", "copied", "anywhere"),
    [
        ([1, 2], 1.0, 1.0),  # both tokens copied from the needle
        ([1, 1], 0.5, 0.5),  # the second row looks at 11 while 12 is produced
        ([4, 2], 0.5, 1.0),  # 11 copied, but from outside the needle
        ([0, 3], 0.0, 0.0),  # neither
    ],
)
def test_copy_by_hand(attended: list[int], copied: float, anywhere: float) -> None:
    found = sight(attended)
    assert DETECTORS["copy"](found).tolist() == [[copied]]
    assert DETECTORS["copy_anywhere"](found).tolist() == [[anywhere]]


def test_copying_a_token_twice_counts_once() -> None:
    # The answer repeats 11: both steps copy it, yet of the needle's set {11, 12} only one token was copied.
    twice = Encoded("twice", (10, 11, 12, 13, 11, 11, 11, 1), 5, ((Label("answer"), Span(1, 3)),))
    found = Sight(twice, [Span(1, 3)], torch.tensor([[[1, 1]]]), torch.zeros(1, 1, 2))
    assert DETECTORS["copy"](found).item() == 0.5


def test_a_planted_head_is_ranked_first() -> None:
    found = DETECTORS["copy"](sight([0, 0], [1, 2], [3, 2]))
    assert found.argmax().item() == 1


def test_mass_is_the_mean_over_rows_and_nothing_visible_is_none() -> None:
    top = torch.zeros(1, 2, 2, dtype=torch.long)
    seen = torch.tensor([[[0.2, 0.6], [float("nan"), float("nan")]]])
    assert DETECTORS["mass"](Sight(PLANTED, [Span(1, 3)], top, seen)).tolist() == [[pytest.approx(0.4), 0.0]]


def example(number: int, answer: str = "Kalo") -> Example:
    """A question over two documents, of a length that varies with `number`."""
    gold = (Segment("Dito lives in "), Segment(answer, (Label("answer"),)), Segment(".\n"))
    segments = (
        Segment("[1] " + "The river waited. " * number + "\n"),
        *(piece.within(Label("evidence")) for piece in gold),
        Segment("Question: Where does Dito live?\nAnswer:", (Label("question"),)),
    )
    return Example(f"row-{number}", "mdqa", (Message("user", segments),), "Where does Dito live?", (answer,))


def oracle(lm: LanguageModel, one: Example) -> np.ndarray:
    """The published rule, written out: eager attention of the whole row, argmax, compare tokens, divide."""
    encoded = encode(one, lm.tokenizer)
    lm.model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = lm.model(input_ids=torch.tensor([encoded.input_ids]), output_attentions=True).attentions
    lm.model.set_attn_implementation("sdpa")
    ids, needle = encoded.input_ids, encoded.spans["answer"][0]
    wanted = {ids[j] for j in range(needle.start, needle.stop)}
    scores = np.zeros((len(attentions), attentions[0].shape[1]))
    for layer, attention in enumerate(attentions):
        for head in range(attention.shape[1]):
            copied = set()
            for row in encoded.answer_rows:
                attended = int(attention[0, head, row].argmax())
                if needle.start <= attended < needle.stop and ids[attended] == ids[row + 1]:
                    copied.add(ids[row + 1])
            scores[layer, head] = len(copied) / len(wanted)
    return scores


def test_copy_equals_the_oracle_in_batches_of_unequal_rows(lm: LanguageModel) -> None:
    rows = [example(number, answer) for number in range(5) for answer in ("Kalo", "Port Modini")]
    rows = [Example(f"{i}", r.task, r.messages, r.question, r.answers) for i, r in enumerate(rows)]
    found = detect_heads(lm, rows, batch=5)
    expected = np.stack([oracle(lm, row) for row in rows])
    assert np.array_equal(found.values, expected)
    assert found.values.max() > 0  # else nothing was compared
    assert found.example_ids == tuple(row.id for row in rows)


def test_bad_use_is_named(lm: LanguageModel) -> None:
    with pytest.raises(ConfigError, match="unknown head metric 'copied'; known: copy"):
        detect_heads(lm, [example(1)], metric="copied")
    plain = Example("plain", "mdqa", (Message("user", (Segment("Who?\nAnswer:"),)),), "Who?", ("Kalo",))
    with pytest.raises(DataError, match="plain: expected a span of answer or evidence"):
        detect_heads(lm, [plain])
    with pytest.raises(LengthError, match=r"row-400: \d+ tokens, but the model's context is"):
        detect_heads(lm, [example(400)])
