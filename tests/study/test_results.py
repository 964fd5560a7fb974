"""Results as frames and as files of tables: the same rows, whatever wrote them."""

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

import haymaker as hm
from haymaker.errors import DataError
from haymaker.study.results import write_table_files

TABLES: dict[str, Any] = {
    "evaluation": [{"setting": "real", "f1": 0.5, "n": 3}, {"setting": "low-low", "f1": None, "n": 4, "more": [1]}],
    "heads": [],
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "results.json").write_text(json.dumps({"meta": {}, "tables": TABLES}))
    return tmp_path


def test_tables_of_a_study_are_frames(study: Path) -> None:
    found = hm.load_results(study)
    assert list(found) == ["evaluation", "heads"]
    assert found["evaluation"].f1.mean() == 0.5
    assert found["heads"].empty
    assert list(hm.load_results(study / "results.json")) == list(found)
    assert "evaluation 2, heads 0" in repr(found)
    assert "<table>" in found._repr_html_()
    with pytest.raises(KeyError, match="no table 'eval'; there are evaluation, heads"):
        found["eval"]


def test_what_commands_leave_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"f1": 0.25}')
    (tmp_path / "predictions.jsonl").write_text('{"text": "Ada"}\n{"text": "Eve"}\n')
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "ablation.json").write_text('[{"k": 1}]')
    found = hm.load_results(tmp_path)
    assert {name: len(found[name]) for name in found} == {"ablation": 1, "evaluation": 1, "predictions": 2}


@pytest.mark.parametrize("rows", [5, "a", {"a": 1}, [1], [[]], [{}, None]])
def test_a_table_that_is_none_is_named(rows: Any, study: Path, tmp_path: Path) -> None:
    (study / "results.json").write_text(json.dumps({"meta": {}, "tables": {"ours": rows}}))
    with pytest.raises(DataError, match=r"table ours.*: expected a (list of rows|mapping of columns)"):
        hm.load_results(study)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "ours.json").write_text(json.dumps(rows))
    (tmp_path / "results.json").unlink()
    with pytest.raises(DataError, match=r"ours\.json.*: expected a (list of rows|mapping of columns)"):
        hm.load_results(tmp_path)


def test_no_results_are_told(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="no results here; give a study's folder"):
            hm.load_results(place)


def test_every_table_is_written_as_csv_and_parquet(tmp_path: Path) -> None:
    write_table_files(TABLES, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.csv", "evaluation.parquet"]
    for frame in (pandas.read_csv(tmp_path / "evaluation.csv"), pandas.read_parquet(tmp_path / "evaluation.parquet")):
        assert list(frame.columns) == ["setting", "f1", "n", "more"]
        assert list(frame.n) == [3, 4]
        assert frame.f1.isna().tolist() == [False, True]
        assert frame.more[1] == "[1]"
