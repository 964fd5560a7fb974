"""Answers of one's own, an id and a prediction a line, by the rows that they answer; and rows by any of their names."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import fails, passes, run
from real_rows import write_jsonl

import haymaker as hm
from haymaker.errors import DataError
from haymaker.evaluation.given_answers import judge_given
from haymaker.evaluation.predictions import Evaluation
from haymaker.evaluation.row_names import RowNames

TOWNS = ("Tami", "Kalo", "the mill", "Zürich")
ROWS = [
    {"ticket": f"T-{i}", "ask": "Where?", "gold": [town], "text": f"Ada {i} lives in {town}." * (1 + i // 3)}
    for i, town in enumerate(TOWNS)
]
MAP = {"id": "ticket", "question": "ask", "answers": "gold", "context": "text"}
FLAGS = [word for name, column in MAP.items() for word in ("--map", f"{name}={column}")]


def rows() -> hm.Dataset:
    return hm.read_examples(ROWS, columns=MAP, evidence=False)


def lines(*told: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"id": name, "prediction": text} for name, text in told]


def judged(tmp_path: Path, told: list[dict[str, Any]], **options: Any) -> Any:
    return judge_given(Path(write_jsonl(tmp_path / "mine.jsonl", told)), rows(), **options)


@pytest.mark.parametrize("by_own", [True, False])
def test_answers_are_scored_as_metrics_score_them_wherever_they_stand(by_own: bool, tmp_path: Path) -> None:
    said = ["Tami", "in Kalo", "mill", "Paris"]
    names = [one["ticket"] for one in ROWS] if by_own else [one.id for one in rows()]
    found = judged(tmp_path, lines(*zip(names, said, strict=True))[::-1])
    expected = [hm.metrics.squad_f1(text, [town]) for text, town in zip(said, TOWNS, strict=True)]
    assert found.values("squad_f1").tolist() == expected
    assert [one.text for one in found.predictions] == said
    assert found.row()["mean_of"] == "all rows"
    assert found.whole


@pytest.mark.parametrize("missing_as_0", [True, False])
def test_what_is_missing_doubled_and_unknown_is_counted_and_the_mean_says_of_what(
    missing_as_0: bool, tmp_path: Path
) -> None:
    told = lines(("T-0", "Tami"), ("T-0", "Kalo"), ("T-1", None), ("T-9", "?"), ("T-3", "Zürich"))
    found = judged(tmp_path, told, missing_as_0=missing_as_0)
    row = found.row()
    counts = {name: row[name] for name in ("missing", "failed", "doubled", "unknown", "n", "score", "mean_of")}
    mean = (
        {"n": 4, "score": 0.5, "mean_of": "all rows"}
        if missing_as_0
        else {"n": 2, "score": 1.0, "mean_of": "answered rows"}
    )
    assert counts == {"missing": 1, "failed": 1, "doubled": 1, "unknown": 1} | mean
    notes = " ".join(found.notes())
    for part in ("1 of 4 rows have no response", "T-2", "T-1", "T-0", "are to no row of this dataset: T-9"):
        assert part in notes
    found.save(tmp_path / "saved.jsonl")
    again = Evaluation.load(tmp_path / "saved.jsonl").judged_by(["squad_f1"])
    assert again.score == row["score"]


def test_no_empty_answer_is_right(tmp_path: Path) -> None:
    """An empty answer to a gold of an article alone scores 1 by the metric's rules; a missing one scores 0."""
    given = [{"question": "Which article?", "answers": ["the"], "context": f"{i} the", "id": str(i)} for i in range(2)]
    path = Path(write_jsonl(tmp_path / "mine.jsonl", lines((0, ""))))
    found = judge_given(path, hm.read_examples(given), "squad_em", missing_as_0=True)
    assert any(note.startswith("1 of 2 answers are empty") for note in found.notes())  # the other is none at all
    assert found.values().tolist() == found.judged_by(["squad_em"]).values().tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (lines(("X-1", "Tami")), "its ids are like X-1, the rows' like T-0, T-1, T-2"),
        ([{"id": "T-0", "output": "Tami"}], "no 'prediction' here; found id, output; .* --map prediction=COLUMN"),
        ([{"name": "T-0", "prediction": "Tami"}], "no 'id' here"),
        (lines((["T-0"], "Tami")), "expected an id and the text of an answer"),
        (lines(("T-0", ["Tami"])), "expected an id and the text of an answer"),
        (lines(("T-0", None)), "no line answers a row"),
    ],
)
def test_what_is_no_answer_is_told(told: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        judged(tmp_path, told)


def test_the_command_reads_other_names_and_tables_and_writes_an_evaluation(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", [*ROWS, {"ticket": "T-5", "ask": "Where?", "text": "Nowhere."}])
    answers = tmp_path / "answers.csv"
    with answers.open("w", newline="") as file:
        csv.writer(file).writerows([("ticket", "output"), *((one["ticket"], one["gold"][0]) for one in ROWS)])
    given = ("score", answers, "--data", data, *FLAGS, "--map", "prediction=output")
    told = json.loads(passes(*given, "--out", tmp_path / "out", "--by", "length", "--json"))
    assert (told["n"], told["score"], told["breakdown"][0]["group"]) == (4, 1.0, "unknown")
    assert json.loads(passes("score", tmp_path / "out", "--json"))["score"] == 1.0
    part = write_jsonl(tmp_path / "part.jsonl", lines(("T-1", "Kalo")))
    result = run("score", part, "--data", data, *FLAGS, "--missing-as-0", "--json")
    assert (result.exit_code, json.loads(result.stdout)["score"]) == (3, 0.25)
    fails(2, "go with --data", "score", tmp_path / "out", "--missing-as-0")


def test_whole_numbers_of_a_column_with_gaps_are_whole(tmp_path: Path) -> None:
    rows = [{"id": f"T-{i}", "question": f"{i}?", "answers": [said], "context": f"It is {said}."} for i, said in
            enumerate(("5", "1998", "2.5"))]  # fmt: skip
    table = pa.table({"id": ["T-0", "T-1", "T-2", "T-3"], "prediction": [5.0, 1998.0, 2.5, None]})
    pq.write_table(table, tmp_path / "answers.parquet")
    assert judge_given(tmp_path / "answers.parquet", hm.read_examples(rows)).score == 1.0


def test_a_row_is_found_by_all_its_names_and_by_no_other_s() -> None:
    names = RowNames([("qa-1", "T-1"), ("qa-2", "T-2"), ("qa-3", "T-2"), ("qa-4", "qa-1"), ("qa-5", "")])
    assert [names.id_of(one) for one in ("qa-1", "T-1", "qa-2", "T-2", "qa-4", "", "T-9")] == [
        "qa-1", "qa-1", "qa-2", None, "qa-4", None, None,
    ]  # fmt: skip
    assert [names.shared(one) for one in ("T-1", "T-2", "T-9")] == [False, True, False]
    assert [names.shown(one) for one in names.ids] == ["T-1", "qa-2", "qa-3", "qa-4", "qa-5"]


def test_a_row_is_shown_by_its_own_id_in_a_file_a_folder_and_an_export(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    folder = hm.read_examples(data, columns=MAP).save(tmp_path / "folder")
    out = tmp_path / "chat.jsonl"
    passes("export", data, *FLAGS, "--format", "openai", "--out", out)
    for given in ((data, *FLAGS), (folder,), (out,)):
        assert json.loads(passes("show", *given, "--id", "T-2", "--json"))["answers"] == ["the mill"]
    fails(2, "no row there is called so", "show", folder, "--id", "T-9")
    twice = write_jsonl(tmp_path / "twice.jsonl", [one | {"ticket": "T"} for one in ROWS])
    fails(2, "several rows of", "show", twice, *FLAGS, "--id", "T")
    answers = write_jsonl(tmp_path / "answers.jsonl", lines(*((one["ticket"], one["gold"][0]) for one in ROWS)))
    assert json.loads(passes("score", answers, "--data", out, "--json"))["score"] == 1.0
