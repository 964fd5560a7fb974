"""Score files broken at random: an error with its place, or scores that are those of the file."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import broken, fuzz, spoilt
from hypothesis import strategies as st

from haymaker.errors import HaymakerError
from haymaker.heads.formats import FORMATS, HeadList, KVScores, ScoreFile, read_scores, write_scores
from haymaker.heads.scores import HeadScores

VALUES = np.array([[[1.0, 0.25], [0.5, np.nan]], [[0.0, 0.125], [2.0, 0.0625]]])
SCORES = HeadScores(VALUES, ("a", "b"), "copy", {"model": "owner/name", "weights": "1"})
FINITE = {"duo", "split"}


def written(form: str, folder: Path) -> Path:
    """A file of that format."""
    path = folder / f"{form}.scores"
    kept = SCORES if form not in FINITE else HeadScores(np.nan_to_num(VALUES), ("a", "b"), "copy")
    if form == "haymaker":
        kept.save(path.with_suffix(".safetensors"))
        return path.with_suffix(".safetensors")
    write_scores(kept, path, form, k=2, kv_heads=2)
    return path


def read(path: Path) -> ScoreFile | None:
    """What a file holds; None where it is refused."""
    try:
        found = read_scores(path)
    except HaymakerError as error:
        assert str(error).strip()  # noqa: PT017
        return None
    if isinstance(found, HeadScores):
        assert not np.isinf(found.mean).any()
        assert repr(found)
    elif isinstance(found, KVScores):
        assert np.isfinite(found.values).all()
    else:
        assert found.as_scores(*found.shape).top(1) == [found.heads[0]]
    return found


def check_kept(found: ScoreFile, path: Path) -> None:
    """Scores are those that a plain reading of the file's cells gives."""
    text = path.read_bytes().decode()
    if isinstance(found, HeadScores) and text.lstrip().startswith("{"):
        table: dict[str, Any] = json.loads(text)
        assert len(table) == found.mean.size
        for name, trials in table.items():
            layer, head = map(int, name.split("-"))
            said = [np.nan if value is None else float(value) for value in trials]
            assert np.array_equal(found.values[:, layer, head], said, equal_nan=True)
    elif isinstance(found, HeadScores):
        rows = list(csv.DictReader(io.StringIO(text)))  # no other character ends a line of csv
        assert len(rows) == found.mean.size
        for row in rows:
            layer, head = int(row["layer"]), int(row["head"])
            assert min(layer, head) >= 0
            said = float(row["score"]) if row["score"] else np.nan
            assert np.array_equal(found.values[0, layer, head], said, equal_nan=True)
    elif isinstance(found, HeadList):
        assert min(min(head) for head in found.heads) >= 0
    else:
        assert len(found.values) == sum(bool(line.strip()) for line in text.splitlines())


@pytest.mark.parametrize("form", ["haymaker", *FORMATS])
def test_a_broken_file_is_an_error_or_what_it_says(form: str, tmp_path: Path) -> None:
    path = written(form, tmp_path)
    whole = path.read_bytes()

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        content = data.draw(spoilt(whole))
        path.write_bytes(content)
        found = read(path)
        if form == "haymaker" and isinstance(found, HeadScores) and content[8:9] == b"{":
            assert np.array_equal(found.values, VALUES, equal_nan=True)
        elif found is not None:
            check_kept(found, path)

    run()


@pytest.mark.parametrize("form", ["haymaker", "wu"])
def test_broken_json_is_an_error_or_what_it_says(form: str, tmp_path: Path) -> None:
    path = written(form, tmp_path)
    edited = path.with_suffix(".json") if form == "haymaker" else path
    whole = json.loads(edited.read_text())

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        edited.write_text(json.dumps(data.draw(broken(json.loads(json.dumps(whole))))))
        found = read(path)
        if form == "haymaker" and isinstance(found, HeadScores):
            assert np.array_equal(found.values, VALUES, equal_nan=True)
        elif found is not None:
            check_kept(found, path)

    run()
