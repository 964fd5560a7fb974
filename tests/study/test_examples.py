"""Examples for a reader: bounded, in the order of the test set, and readable where the dataset is gone."""

from pathlib import Path

import pytest

from haymaker.files import write_jsonl
from haymaker.records import Example, Label, Message, Segment
from haymaker.study import examples
from haymaker.study.examples import MOST_CHARACTERS, MOST_EXAMPLES, evidence_of, example_rows

ROW = {"model": "m", "task": "mdqa", "setting": "real", "seed": 0, "length": 512, "metric": "squad_f1", "cell": "c"}
ROW |= {"key": "k", "n": 20, "score": 0.5}


def example(name: str, *evidence: str) -> Example:
    found = tuple(Segment(text, (Label("evidence", i),)) for i, text in enumerate(evidence))
    return Example(name, "mdqa", (Message("user", (Segment("Before. "), *found)),), f"Where is {name}?", ("here",))


def answered(path: Path, count: int) -> Path:
    lines = [
        {"example_id": f"e{i}", "text": "there", "answers": ["here", "Here"], "scores": {"squad_f1": 0.25}}
        | {"finish_reason": "stop"}
        for i in range(count)
    ]
    write_jsonl(path, lines)
    return path


def test_the_first_answers_stand_beside_their_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "first_examples", lambda folder: {"e0": example("e0", "It is here.")})
    rows = example_rows(ROW, answered(tmp_path / "predictions.jsonl", 20), tmp_path)
    assert [row["example_id"] for row in rows] == [f"e{i}" for i in range(MOST_EXAMPLES)]
    told = {"question": "Where is e0?", "evidence": "It is here.", "answers": "here | Here", "prediction": "there"}
    assert rows[0] == {name: value for name, value in ROW.items() if name not in ("n", "score")} | told | {
        "example_id": "e0",
        "score": 0.25,
        "finish": "stop",
    }
    assert rows[1]["question"] == ""


def test_a_dataset_that_is_gone_leaves_the_answers(tmp_path: Path) -> None:
    rows = example_rows(ROW, answered(tmp_path / "predictions.jsonl", 2), tmp_path / "gone")
    assert [(row["question"], row["prediction"]) for row in rows] == [("", "there")] * 2


def test_evidence_is_cut_where_it_is_long() -> None:
    assert evidence_of(example("e", "One. ", "Two.")) == "One.\n\nTwo."
    told = evidence_of(example("e", "x" * (MOST_CHARACTERS + 1)))
    assert told == "x" * MOST_CHARACTERS + " […]"
