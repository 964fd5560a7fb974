"""The nearest passages come first, never one that gives the answer away, and rows without them stay as they were."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from real_rows import write_jsonl

import haymaker as hm
from haymaker.errors import ConfigError
from haymaker.tasks.nearest import Nearness
from haymaker.tasks.pool import Passage, Pool


def test_texts_are_ordered_by_nearness_and_ties_keep_their_order() -> None:
    index = Nearness(["a tree", "the mill and the mill stones", "the old mill here", "a stone tree", "nothing"])
    assert index.order("Who built the mill?")[:2] == [1, 2]
    assert index.order("zzz") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("setting", ["real", "low-high"])
def test_rows_stand_among_the_passages_nearest_to_their_question(setting: str, tmp_path: Path, tokenizer: Any) -> None:
    near = [{"text": f"The mill of village {i} was built and rebuilt."} for i in range(30)]
    near.append({"text": "Who built the mill? The mill was built by Ada Reyes, by Ada Reyes."})
    far = [{"text": f"Item {i} is plain and has no use at all."} for i in range(300)]
    pool = write_jsonl(tmp_path / "pool.jsonl", [*far, *near])
    row = {
        "question": "Who built the mill?",
        "answers": ["Ada Reyes"],
        "documents": [{"text": "Ada Reyes did.", "gold": True}],
    }
    source = write_jsonl(tmp_path / "mine.jsonl", [row])
    values: dict[str, Any] = {
        "task": "qa",
        "setting": setting,
        "length": 1_200,
        "rows": 1,
        "source": source,
        "pool": pool,
    }
    (hard,) = hm.build(hm.Recipe(**values, distractors="nearest", competitors=1), tokenizer)
    assert hard.text.count("The mill of village") >= 25  # the last ones may make way for others that fill the length
    assert hard.text.count("Ada Reyes, by Ada Reyes") == 0 or setting != "real"
    (drawn,) = hm.build(hm.Recipe(**values, competitors=1), tokenizer)
    assert drawn.text.count("The mill of village") < 12
    assert drawn.pair_id == hard.pair_id


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bm25s", None)
    with pytest.raises(ConfigError, match="pip install bm25s"):
        Nearness(["a"])
    recipe = hm.Recipe(task="qa", length=256, rows=1, source="nowhere.jsonl", distractors="nearest")
    with pytest.raises(ConfigError, match="pip install bm25s"):  # before a file is read
        hm.choices.TASKS["qa"].drafts(recipe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distractors": "nearest"}, "distractors: it is about rows of a file; give their source"),
        ({"columns": {"question": "prompt"}}, "columns: it is about rows of a file"),
        (
            {"columns": {"question": "prompt"}, "source": "a.jsonl", "task": "mdqa"},
            "columns: mdqa does not read it; qa do",
        ),
        ({"distractors": "nearest", "source": "a.jsonl", "task": "kv"}, "distractors: kv does not read it"),
    ],
)
def test_what_a_task_would_pass_over_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hm.Recipe(**{"task": "qa", "length": 512, "rows": 1} | changes)


def test_copies_of_a_rows_own_passages_are_not_drawn_and_no_passage_stands_twice_in_a_pool() -> None:
    """Under any title, and with other blanks, as a corpus holds the paragraphs of a question's file."""
    own = Passage("The mill", "It is old. It is of stone.")
    copies = [Passage("", "It is old. It is of stone."), Passage("Mills", "It is old.It is of stone.\n")]
    others = [Passage("", "The bridge."), Passage("A bridge", "The  bridge.")]
    pool = Pool([own, *copies, *others], seed=0)
    assert len(pool.passages) == 2
    for drawn in (pool.documents("row", [own], ()), pool.nearest("row", [own], (), "How old?")):
        assert {(each.title, each.text) for each in islice(drawn, 5)} == {("A bridge", "The  bridge.")}
    assert [each.text for each in pool.closers("row", [own], ())][:1] == ["The  bridge."]
