"""Files of predictions broken at random: an error with its place, or answers read as they are written."""

import json
from pathlib import Path
from typing import Any

from fuzzing import broken, fuzz, spoilt
from hypothesis import strategies as st

from haymaker.errors import HaymakerError
from haymaker.evaluation.predictions import Evaluation, default_metrics

ROW: dict[str, Any] = {
    "example_id": "a",
    "text": "Ada",
    "answers": ["Ada", "Ada L."],
    "scores": {"squad_f1": 1.0, "squad_em": 1.0},
    "finish_reason": "stop",
    "prompt_tokens": 10,
    "generated_tokens": 2,
    "task": "mdqa",
    "unread": [],
    "halved": False,
    "before": "",
}


def check(path: Path) -> None:
    try:
        found = Evaluation.load(path)
        again = found.judged_by(default_metrics(found))
        assert 0 <= again.row()["score"] <= 1
        assert found.rows()
        assert repr(found)
        assert found.row()["n"] == len(found.predictions)
        again.notes()
    except HaymakerError as error:
        assert str(error).strip()  # noqa: PT017
        return
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    assert [(one.text, list(one.answers)) for one in found.predictions] == [(x["text"], x["answers"]) for x in lines]


def test_a_broken_file_is_an_error_or_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        row = data.draw(broken(json.loads(json.dumps(ROW))))
        path.write_text("\n".join(json.dumps(one) for one in (ROW, row)))
        check(path)
        path.write_bytes(data.draw(spoilt("\n".join([json.dumps(ROW)] * 2).encode())))
        check(path)

    run()
