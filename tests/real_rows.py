"""Rows in the official formats, made up here, and where the real ones may stand."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
needs_real_rows = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data (real rows beside the checkout)")

WORDS = (
    "river council treaty engine harbour melody theory garrison orchard bishop railway novel senate island copper "
    "festival archive glacier merchant border printing winter canal parade fortress"
).split()


def sentence(rng: Random, words: int = 14) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def passage(rng: Random, words: int = 40) -> str:
    return " ".join(sentence(rng) for _ in range(max(1, words // 14)))


def mdqa_row(number: int, distractors: int = 6) -> dict[str, Any]:
    """A row in lost-in-the-middle's format, gold first."""
    rng = Random(number)
    answer = f"Person Q{number}"
    text = f"{sentence(rng)} The prize of year {number} went to {answer}, they say."
    gold = {"title": f"Topic {number}", "text": text, "hasanswer": True, "isgold": True}
    others = [
        {"id": f"{number}-{i}", "title": f"Topic {number}, part {i}", "text": passage(rng), "hasanswer": False,
         "isgold": False, "original_retrieval_index": i}
        for i in range(distractors)
    ]  # fmt: skip
    return {
        "question": f"who won the prize of year {number}",
        "answers": [answer, f"Q{number}"],
        "ctxs": [gold, *others],
    }


def own_row(number: int) -> dict[str, Any]:
    """A row of one's own: the question of a row of MDQA, whose gold document says the answer once."""
    row = mdqa_row(number)
    documents = [{"title": one["title"], "text": one["text"], "gold": one["isgold"]} for one in row["ctxs"]]
    return {"question": row["question"], "answers": row["answers"], "documents": documents}


def musique_row(number: int, hops: int = 2, others: int = 6) -> dict[str, Any]:
    """A row in MuSiQue's format; its supporting paragraphs stand in the middle."""
    rng = Random(number)
    names = [f"Place {number}{letter}" for letter in "abcde"]
    steps = [
        {"id": i, "question": f"{names[0] if i == 0 else f'#{i}'} >> {('capital', 'founder', 'spouse', 'author')[i]}",
         "answer": names[i + 1], "paragraph_support_idx": 2 + i}
        for i in range(hops)
    ]  # fmt: skip
    support = [
        {
            "title": names[i],
            "paragraph_text": f"{sentence(rng)} For {names[i]} it is {names[i + 1]}.",
            "is_supporting": True,
        }
        for i in range(hops)
    ]
    filling = [
        {"title": f"Other {number}{i}", "paragraph_text": passage(rng), "is_supporting": False} for i in range(others)
    ]
    paragraphs = [{"idx": i, **paragraph} for i, paragraph in enumerate([*filling[:2], *support, *filling[2:]])]
    return {
        "id": f"{hops}hop__{number}", "paragraphs": paragraphs, "question": f"Who is at the end of {names[0]}?",
        "question_decomposition": steps, "answer": names[hops], "answer_aliases": [f"the {names[hops]}"],
        "answerable": True,
    }  # fmt: skip


def topic(documents: int = 24, seed: int = 0) -> dict[str, Any]:
    """A topic in SummHay's format: insight k stands, word for word, in every document it is listed for."""
    rng = Random(seed)
    insights = [{"insight_id": f"i{k}", "insight": f"{sentence(rng, 8)[:-1]} by {k + 11} percent."} for k in range(4)]
    made = []
    for n in range(documents):
        held = [k for k in range(4) if (n + k) % 6 == 0]
        text = " ".join([passage(rng), *(insights[k]["insight"] for k in held), passage(rng)])
        made.append({"document_id": f"d{n}", "document_text": text, "insights_included": [f"i{k}" for k in held]})
    return {"topic_id": f"t{seed}", "subtopics": [{"insights": insights}], "documents": made}


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text)
    return str(path)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, byte for byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
