"""Rows in hand are what the same rows are in a file, whatever holds them; what holds none is told in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import haymaker as hm
from haymaker.errors import DataError

MILL = "Ada Reyes founded the mill in 1871."
ROWS: list[dict[str, Any]] = [
    {"question": "Who founded the mill?", "answers": ["Ada Reyes"], "context": MILL, "evidence": [[0, 17]]},
    {"question": "When was it founded?", "answers": ["1871"], "context": MILL, "evidence": None},
]


class Polars:
    """What of a polars frame is asked."""

    columns = tuple(ROWS[0])

    def to_dicts(self) -> list[dict[str, Any]]:
        return ROWS


def hugging_face() -> Any:
    return pytest.importorskip("datasets").Dataset.from_list(ROWS)


def arrays() -> list[dict[str, Any]]:
    """As pandas reads parquet: arrays for lists, NaN where there is nothing."""
    return [{**ROWS[0], "evidence": np.array([[0, 17]])}, {**ROWS[1], "answers": np.array(["1871"], object),
            "evidence": float("nan")}]  # fmt: skip


HOLDERS: dict[str, Callable[[], Any]] = {
    "a list": lambda: ROWS,
    "a tuple": lambda: tuple(ROWS),
    "a generator": lambda: (row for row in ROWS),
    "a frame": lambda: pd.DataFrame(ROWS),
    "a frame of arrays": lambda: pd.DataFrame(arrays()),
    "missing values": lambda: [ROWS[0], {**ROWS[1], "evidence": pd.NA, "seen": pd.Timestamp("2026-11-26")}],
    "a polars frame": Polars,
    "a table of Arrow": lambda: pa.Table.from_pylist(ROWS),
    "a dataset of datasets": hugging_face,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", HOLDERS)
def test_rows_in_hand_are_those_of_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(ROWS))
    found = hm.read_examples(HOLDERS[name]())
    assert list(found) == list(hm.read_examples(tmp_path / "mine.json"))
    assert hm.load_dataset(found.save(tmp_path / "saved"))[0] == found[0]


def test_an_empty_answer_in_a_frame_is_counted() -> None:
    frame = pd.DataFrame({"question": ["Who?", "Why?"], "answers": ["Ada Reyes", np.nan], "context": MILL})
    found = hm.read_examples(frame)
    assert (len(found), list(found.manifest["rejected"].values())) == (1, [1])


def test_columns_of_a_frame_may_have_other_names() -> None:
    frame = pd.DataFrame(ROWS).rename(columns={"question": "prompt"})
    assert hm.read_examples(frame, columns={"question": "prompt"})[0].question == ROWS[0]["question"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ROWS[0], "expected a file, or rows as a list or a frame, found dict"),
        (["mine.jsonl"], "row 0: expected an object of columns, found str 'mine.jsonl'"),
        ([ROWS[0], None], "row 1: expected an object"),
        ([hm.example(MILL, answer="Ada")], "row 0: an Example is data already"),
        ([{"text": MILL}], "row 0: no layout has the keys text"),
        ([{**ROWS[0], "question": "\ud800?"}], "row 0: .ud800 alone is half of a letter"),
        ([], "none of its rows is of use .it holds no row"),
    ],
)
def test_what_holds_no_rows_is_told(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as found:
        hm.read_examples(source)
    assert "\n" not in str(found.value)
