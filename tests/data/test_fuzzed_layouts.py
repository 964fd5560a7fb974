"""Rows of every layout, broken at random: an error with its place, a counted reason, or a row that is right."""

import copy
import json
from pathlib import Path
from typing import Any

from fuzzing import broken, fuzz
from hypothesis import strategies as st
from layout_rows import BENCHMARKS, CHOICES, LAYOUTS, NOLIMA, OTHER_NOLIMA

import haymaker as hm
from haymaker.errors import HaymakerError

ROWS: list[dict[str, Any]] = [*(told[0] for told in (LAYOUTS | BENCHMARKS).values()), CHOICES, NOLIMA, OTHER_NOLIMA]


def check(rows: list[Any], path: Path) -> None:
    """From a file and as a list: rows that can be taught and answered, or one sentence."""
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for source in (path, rows):
        try:
            found = list(hm.read_examples(source, evidence=False))
        except HaymakerError as error:
            assert str(error).strip()  # noqa: PT017
            continue
        for one in found:
            assert one.text.strip()
            assert one.answers
            assert all(answer.strip() for answer in one.answers)
            spans = [span for kind in ("evidence", "answer", "question") for span in one.spans.get(kind, [])]
            assert all(one.text[span.slice].strip() for span in spans)


def test_a_broken_row_is_an_error_a_reason_or_right(tmp_path: Path) -> None:
    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(ROWS))
        check([data.draw(broken(copy.deepcopy(row))), row], tmp_path / "rows.jsonl")

    run()


def test_blanks_are_no_evidence() -> None:
    said = "Ada Reyes founded the mill in 1871."
    documents = [{"text": " ", "gold": True}, {"text": said, "gold": True}]
    row = {"question": "Who founded the mill?", "answers": ["Ada Reyes"], "documents": documents}
    (example,) = hm.read_examples([row])
    assert [example.text[span.slice] for span in example.spans["evidence"]] == [said]
    documents[1:] = [{"text": f"\n {said}", "evidence": [[0, 2], [2, 5]]}]
    (example,) = hm.read_examples([row])
    assert [example.text[span.slice] for span in example.spans["evidence"]] == ["Ada"]
