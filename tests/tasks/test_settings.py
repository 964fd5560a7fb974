"""What settings make of a question: the relation it asks for, placeholders and their rivals, rows that are limited."""

from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from real_rows import mdqa_row, musique_row, write_jsonl

from haymaker import registry
from haymaker.config import Recipe
from haymaker.errors import ConfigError
from haymaker.realism.context import padding
from haymaker.realism.placeholders import (
    LIMITED,
    LIMITED_STEPS,
    meaning,
    placeholder_chain,
    placeholder_rivals,
    relation_of,
)
from haymaker.realism.symbols import Symbols
from haymaker.registry import Entry
from haymaker.tasks import task
from haymaker.tasks.file_rows import LIMITED_OUT

STEPS = [("who wrote the book of rivers", "Ada Ude"), ("Ada Ude >> spouse", "Kor Vin"), ("#2 >> place of birth", "Sel")]


@pytest.mark.parametrize(
    ("question", "relation"),
    [
        ("who wrote the song of the sea", "author"),
        ("who sings the theme of the film", "performer"),
        ("who played the king in the film", "actor"),
        ("when did the war begin", "date"),
        ("where is the harbour", "location"),
        ("how many bells are there", "number"),
        ("who is the current prime minister of the island", "leader"),
        ("to whom was it given", "person"),
        ("the bells of the harbour are", "answer"),
        ("Green >> performer", "performer"),
        ("#1 >> located in the administrative territorial entity", "located in the administrative territorial entity"),
        ("The spouse of the Green performer is whom?", "spouse"),
    ],
)
def test_the_relation_that_a_question_asks_for(question: str, relation: str) -> None:
    assert relation_of(question)[0] == relation


def test_limited_relations_are_those_with_a_name() -> None:
    assert "person" not in LIMITED
    assert "answer" not in LIMITED_STEPS
    assert set(LIMITED) < set(LIMITED_STEPS)


@pytest.mark.parametrize(
    ("name", "rows", "kept"),
    [
        ("mdqa", [mdqa_row(n) | ({"question": f"which way {n}"} if n % 2 else {}) for n in range(6)], 3),
        ("musique", [musique_row(n, hops=2 + 2 * (n % 2)) for n in range(6)], 6),
    ],
)
def test_a_limited_setting_keeps_the_rows_that_ask_for_its_relations(
    name: str, rows: list[dict[str, Any]], kept: int, tmp_path: Path
) -> None:
    # "who won the prize" asks for a winner, "which way" for nothing named; MuSiQue's steps here name a capital,
    # a founder, a spouse and an author, all of them among the limited ones.
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    recipe = Recipe(task=name, setting="real-limited", length=1_000, rows=1, source=source)  # type: ignore[arg-type]
    drafts = task(name).drafts(recipe)
    assert drafts.count == kept
    assert drafts.rejected.get(LIMITED_OUT, 0) == len(rows) - kept
    with pytest.raises(ConfigError, match="no row of the source asks for height alone"):
        task(name).drafts(recipe.changed(relations=("height",)))


# ---- concepts and contexts of other packages


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """A concept and a context of a package, which are the templates and the padding under other names."""
    places = {"concepts": ("plain", "wording:TemplateProse"), "contexts": ("blank", "context:padded")}
    found = [
        (f"haymaker.{group}", name, Entry(f"haymaker.realism.{place}", "", "other", "1.0"))
        for group, (name, place) in places.items()
    ]
    monkeypatch.setattr(registry, "installed", lambda: tuple(found))


@pytest.mark.usefixtures("brought")
@pytest.mark.parametrize("name", ["mdqa", "musique", "niah"])
@pytest.mark.parametrize("from_file", [False, True])
def test_they_make_rows_as_haymakers_own_do(name: str, from_file: bool, tmp_path: Path) -> None:
    rows = [{"title": f"T{n}", "text": mdqa_row(n)["ctxs"][1]["text"]} for n in range(9)]
    if name != "niah":
        rows = [mdqa_row(n) if name == "mdqa" else musique_row(n, hops=2) for n in range(4)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows) if from_file else None
    recipe = Recipe(task=name, setting="low-low", length=900, rows=3, source=source)
    own, real = (task(name).drafts(recipe.changed(setting=setting)).draft(1) for setting in ("low-low", "real"))
    other = task(name).drafts(recipe.changed(setting="plain-blank", competitors=0)).draft(1)
    assert (other.concept, other.context) == ("plain", "blank")
    assert (other.question, other.answers, other.gold) == (own.question, own.answers, own.gold)
    assert other.facts == real.facts
    assert list(islice(other.further(), 20)) == list(islice(padding(), 20))
    assert task(name).drafts(recipe.changed(setting="plain-high", competitors=2)).draft(1).competitors


@pytest.mark.usefixtures("brought")
@pytest.mark.parametrize(("name", "says"), [("summhay", "summhay has real, "), ("kv", "kv holds no prose")])
@pytest.mark.parametrize("setting", ["plain-blank", "low-blank", "plain-high"])
def test_tasks_that_cannot_take_them_say_so(name: str, says: str, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"setting: {says}"):
        task(name).drafts(Recipe(task=name, setting=setting, length=900, rows=3))


# ---- placeholders


def test_placeholders_are_distinct_and_lead_back() -> None:
    facts, stands_for = placeholder_chain(STEPS, Random(0))
    assert [fact.relation.name for fact in facts] == ["author", "spouse", "place of birth"]
    assert [fact.object for fact in facts[:-1]] == [fact.subject for fact in facts[1:]]
    assert len(stands_for) == 4
    record = [{"kind": "placeholders", "stands_for": stands_for}]
    assert [meaning(record, fact.object) for fact in facts] == ["Ada Ude", "Kor Vin", "Sel"]
    assert meaning(record, facts[0].subject) == STEPS[0][0]


def test_rivals_share_relations_and_no_name() -> None:
    facts, _ = placeholder_chain(STEPS, Random(0))
    rivals = placeholder_rivals(facts, 7, Random(1))
    assert [fact.relation.name for fact in rivals] == [*(fact.relation.name for fact in facts)] * 2 + ["author"]
    chains = [rivals[:3], rivals[3:6]]
    assert all(chain[i].object == chain[i + 1].subject for chain in chains for i in range(2))
    names = [name for fact in (*facts, *rivals) for name in (fact.subject, fact.object)]
    # 4 names of the chain, 4 of each whole chain of rivals, 2 of the last one's first fact.
    assert len(set(names)) == 4 + 2 * 4 + 2
    assert len({name.split()[-1] for name in names}) == len(set(names))


def test_more_rivals_than_there_are_names_is_an_error() -> None:
    facts, _ = placeholder_chain(STEPS[:1], Random(0))
    # 900 numbers less the chain's 2 leave 898: 449 rivals of one hop with two names each.
    assert len(placeholder_rivals(facts, 449, Random(0))) == 449
    with pytest.raises(ConfigError, match="at most 449 beside 1 hops, not 450"):
        placeholder_rivals(facts, 450, Random(0))


# ---- numbers


def test_numbers_never_come_twice_and_grow_when_used_up() -> None:
    symbols = Symbols(Random(0), digits=2)
    drawn = [symbols.fresh() for _ in range(500)]
    assert len(set(drawn)) == 500
    # Of 90 numbers of two digits 90 percent are used before those of three are, at most all.
    assert 81 < sum(len(number) == 2 for number in drawn) <= 90
    assert sorted(drawn, key=len) == drawn
    assert all(len(number) in (2, 3) for number in drawn)


def test_a_fork_goes_on_alike_each_time_and_leaves_its_origin() -> None:
    symbols = Symbols(Random(0), digits=3)
    known = symbols.of("a name")
    forks = [symbols.fork(Random(7)) for _ in range(2)]
    drawn = [[fork.fresh() for _ in range(50)] for fork in forks]
    assert drawn[0] == drawn[1]
    assert known not in drawn[0]
    assert forks[0].of("a name") == known
    assert len(symbols.used) == 1
