"""What a writer hands over: a file that comes back as it was, and texts that no row can be made of."""

import json
from pathlib import Path

import pytest

from haymaker.errors import DataError
from haymaker.realism.written import Written, read_written, save_written

TWO_HOPS = Written(
    ("Vora was founded by Tilm Ude.", "Tilm Ude, they say, wed the “Ansa” of Kor."),
    "Whom did the founder of Vora marry?",
    "Ansa",
    {"model": "m", "finish_reason": "stop"},
    ("Tilm Ude",),
)


def test_a_file_of_written_rows_comes_back(tmp_path: Path) -> None:
    rows = {"a": TWO_HOPS, "b": Written(("One text with 42.",), "Which?", "42")}
    path = save_written(tmp_path / "written.jsonl", rows)
    assert read_written(path) == rows
    assert [file.name for file in tmp_path.iterdir()] == ["written.jsonl"]


def test_answers_are_found_once_in_their_own_passage() -> None:
    assert TWO_HOPS.fault is None
    found = [
        [text[start:stop] for start, stop in ranges]
        for text, ranges in zip(TWO_HOPS.passages, TWO_HOPS.ranges, strict=True)
    ]
    assert found == [["Tilm Ude"], ["Ansa"]]


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (Written(("Nothing here.",), "Which?", "42"), "does not hold its answer"),
        (Written(("It is 42.", "And 43."), "Which?", "43"), "not one passage an answer"),
        (Written(("It is 42.", "And 43."), "Which?", "43", {}, ("41",)), "does not hold its answer"),
        (Written(("It is 42.",), "Which?", "42", titles=("A", "B")), "not one passage a title"),
        (Written((), "Which?", "42"), "empty"),
        (Written(("It is 42.",), " ", "42"), "empty"),
        (Written(("It is 42.", " "), "Which?", "42", {}, ("42",)), "empty"),
        (Written(("Wages fell.",), "Wages fell.", "", {}, ("x",)), "without an answer"),
    ],
)
def test_what_no_row_can_be_made_of(written: Written, fault: str) -> None:
    assert fault in (written.fault or "")


def test_passages_that_say_an_insight_hold_no_answer() -> None:
    assert Written(("Pay fell.", "Wages went down."), "Wages fell.", "").fault is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"key": "a", "passages": "one", "question": "q", "answer": "x"}, "line 2.*'passages' should be list"),
        ({"key": "a", "passages": ["one"], "question": "q"}, "line 2: no 'answer' here"),
        ({"key": "first", "passages": ["one"], "question": "q", "answer": "x"}, "line 2.*stands in the file already"),
    ],
)
def test_broken_files_are_named_by_line(tmp_path: Path, line: dict, message: str) -> None:
    first = {"key": "first", "passages": ["one"], "question": "q", "answer": "one"}
    (tmp_path / "written.jsonl").write_text(f"{json.dumps(first)}\n{json.dumps(line)}\n")
    with pytest.raises(DataError, match=message):
        read_written(tmp_path / "written.jsonl")
