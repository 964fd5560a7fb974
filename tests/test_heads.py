"""Detection through models: against oracles of eager attention, in batches, windows, adapters, own answers."""

import numpy as np
import pytest
import torch

from haymaker.errors import ConfigError, DataError, LengthError
from haymaker.heads import detect_heads
from haymaker.models.load import LanguageModel
from haymaker.records import Example, Label, Message, Segment
from haymaker.tokens import encode


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
