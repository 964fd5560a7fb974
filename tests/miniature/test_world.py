"""Laws of the miniature world."""

import re

import pytest

from haymaker.miniature import grammar
from haymaker.miniature.grammar import RELATIONS
from haymaker.miniature.world import SPLIT_SHARES, World, dictionary, question, split_of, statement

SPLITS = tuple(SPLIT_SHARES)
MANNERS = ("real", "writer", "template")


def names(world: World, count: int = 300) -> set[str]:
    return {world.name(world.rng("names", key)) for key in range(count)}


def test_splits_never_share_a_name() -> None:
    drawn = {split: names(World(split)) for split in SPLITS}  # type: ignore[arg-type]
    assert all(len(found) > 200 for found in drawn.values())
    for i, one in enumerate(SPLITS):
        assert all(split_of(name) == one for name in drawn[one])
        assert not any(drawn[one] & drawn[other] for other in SPLITS[i + 1 :])


def test_split_shares_are_kept() -> None:
    drawn = [split_of(a + b) for a in grammar.SYLLABLES for b in grammar.SYLLABLES]
    # About 2,300 names: three standard deviations of a share of 0.2 are 0.025.
    for split, share in SPLIT_SHARES.items():
        assert abs(drawn.count(split) / len(drawn) - share) < 0.04


def test_what_is_drawn_depends_on_seed_split_and_key_alone() -> None:
    first = World("train", 3).fact(World("train", 3).rng("a", 1))
    assert first == World("train", 3).fact(World("train", 3).rng("a", 1))
    assert first != World("train", 3).fact(World("train", 3).rng("a", 2))
    assert first != World("train", 4).fact(World("train", 4).rng("a", 1))
    assert first != World("test", 3).fact(World("test", 3).rng("a", 1))


def test_facts_share_no_entity_and_no_name_holds_a_later_one() -> None:
    world = World("train")
    facts = world.facts(world.rng("facts"), 20, RELATIONS[0])
    entities = [name for fact in facts for name in (fact.subject, fact.object)]
    assert len(set(entities)) == 40
    assert {fact.relation for fact in facts} == {RELATIONS[0]}
    assert not any(later.split()[-1] in first for i, first in enumerate(entities) for later in entities[i + 1 :])


def test_more_facts_leave_the_first_ones_as_they_are() -> None:
    world = World("train")
    assert world.facts(world.rng("f"), 3) == world.facts(world.rng("f"), 9)[:3]


def test_each_hop_of_a_chain_starts_where_the_last_one_ended() -> None:
    world = World("test")
    for key in range(50):
        chain = world.chain(world.rng("chain", key), 3)
        assert all(one.object == other.subject for one, other in zip(chain, chain[1:], strict=False))
        assert all(one.relation.object == other.relation.subject for one, other in zip(chain, chain[1:], strict=False))
        assert len({chain[0].subject, *(fact.object for fact in chain)}) == 4


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_a_statement_marks_its_sentence_and_its_object(relation, manner) -> None:
    world = World("dev")
    for key in range(20):
        rng = world.rng("statement", key)
        fact = world.fact(rng, relation)
        pieces = statement(fact, rng, manner, gold=True)
        assert (
            "".join(piece.text for piece in pieces if any(label.kind == "answer" for label in piece.labels))
            == fact.object
        )
        assert all(piece.labels[0].kind == "evidence" for piece in pieces)
        text = "".join(piece.text for piece in pieces)
        assert text.count(fact.subject) == 1
        assert "{" not in text
        assert fact.subject in question(fact, rng, manner)
        assert fact.object not in question(fact, rng, manner)


def test_manners_differ() -> None:
    for relation in RELATIONS:
        assert len(relation.real) > len(relation.writer) > 1
        assert not set(relation.real) & set(relation.writer)


def test_a_statement_that_is_not_gold_has_no_label() -> None:
    world = World("dev")
    assert all(not piece.labels for piece in statement(world.fact(world.rng("x")), world.rng("y")))


def test_passages_name_nobody() -> None:
    world = World("train")
    syllables = "|".join(syllable.capitalize() for syllable in grammar.SYLLABLES)
    known = re.compile(rf"(?<!^)(?<![.] )\b(?:{syllables})[a-z]*")
    for key in range(100):
        assert not known.search(world.passage(world.rng("passage", key)))


def test_a_dictionary_maps_distinct_numbers_to_distinct_numbers() -> None:
    found = dictionary(World("train").rng("d"), 50, taken=("123",))
    assert len(set(found) | set(found.values())) == 100
    assert all(len(number) == 3 for number in (*found, *found.values()))
    assert "123" not in (set(found) | set(found.values()))


def test_insights_have_two_wordings_that_share_their_facts() -> None:
    world = World("train")
    for key in range(30):
        insight = world.insight(world.rng("insight", key))
        assert insight.statement != insight.paraphrase
        numbers = re.findall(r"\d+", insight.statement)
        assert numbers == re.findall(r"\d+", insight.paraphrase)
