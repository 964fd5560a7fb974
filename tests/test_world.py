"""The miniature world: splits share no name, facts are told as they say, and names stay whole."""

import itertools

import pytest
from transformers import PreTrainedTokenizerBase

from haymaker.miniature.grammar import RELATIONS, SYLLABLES
from haymaker.miniature.world import SPLIT_SHARES, World, question, split_of, statement


def test_splits_never_share_a_name() -> None:
    for split in SPLIT_SHARES:
        world = World(split)  # type: ignore[arg-type]
        for key in range(50):
            assert split_of(world.name(world.rng(key))) == split


def test_rows_depend_on_their_key_alone() -> None:
    def fact(world: World, key: int) -> tuple[str, str]:
        found = world.fact(world.rng(key))
        return found.subject, found.object

    assert [fact(World("test"), key) for key in range(5)] == [fact(World("test"), key) for key in range(5)]
    assert len({fact(World("test"), key) for key in range(50)}) > 45
    assert fact(World("test", seed=1), 0) != fact(World("test"), 0)


@pytest.mark.parametrize("manner", ["real", "writer", "template"])
@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_statements_hold_their_fact_and_label_the_object(relation: object, manner: str) -> None:
    world = World("test")
    for key in range(20):
        rng = world.rng(manner, key)
        fact = world.fact(rng, relation)  # type: ignore[arg-type]
        pieces = statement(fact, rng, manner, gold=True)  # type: ignore[arg-type]
        text = "".join(piece.text for piece in pieces)
        assert fact.subject in text
        assert [piece.text for piece in pieces if any(label.kind == "answer" for label in piece.labels)] == [
            fact.object
        ]
        assert fact.subject in question(fact, rng, manner)  # type: ignore[arg-type]
        assert fact.object not in question(fact, rng, manner)  # type: ignore[arg-type]


def test_concept_expression_differs_in_wording() -> None:
    world = World("test")

    def wordings(manner: str) -> set[str]:
        facts = [(world.rng(key), world.fact(world.rng("f", key), RELATIONS[0])) for key in range(60)]
        told = ["".join(piece.text for piece in statement(fact, rng, manner)) for rng, fact in facts]  # type: ignore[arg-type]
        pairs = zip(told, facts, strict=True)
        return {text.replace(fact.subject, "X").replace(fact.object, "Y").split(",")[0] for text, (_, fact) in pairs}

    assert len(wordings("template")) == 1
    assert len(wordings("real")) > len(wordings("writer")) > 1


def test_chains_link_object_to_subject_without_repeating_an_entity() -> None:
    for key in range(30):
        chain = World("train").chain(World("train").rng(key), hops=3)
        assert all(first.object == second.subject for first, second in itertools.pairwise(chain))
        names = [chain[0].subject, *(fact.object for fact in chain)]
        assert len(set(names)) == 4


def test_an_insight_is_told_in_two_ways() -> None:
    found = World("train").insight(World("train").rng(0))
    assert found.statement != found.paraphrase


def test_every_syllable_of_a_name_is_one_token(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(SYLLABLES) == 48
    for first, second in itertools.product(SYLLABLES, repeat=2):
        name = (first + second).capitalize()
        assert len(tokenizer(f" {name}", add_special_tokens=False)["input_ids"]) == 2, name
    assert 1_500 <= len(tokenizer) <= 2_000
