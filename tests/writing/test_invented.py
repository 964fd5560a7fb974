"""Invented names."""

from haymaker.miniature.world import World
from haymaker.randomness import keyed
from haymaker.writing.invented import invented_chain


def test_invented_names_do_not_hold_each_other_and_two_splits_share_none() -> None:
    """A name inside another would be found, under the scoring metric, where only the other one stands."""
    steps = [("who wrote it", "a"), ("#1 >> place of birth", "b"), ("how many people live in #2", "c"), ("when", "d")]
    names: dict[str, set[str]] = {}
    for split in ("train", "test"):
        world = World(split)  # type: ignore[arg-type]
        chains = [invented_chain(steps, world, keyed(0, "chain", number)) for number in range(1_000)]
        for chain in chains:
            own = [chain[0].subject, *(fact.object for fact in chain)]
            assert [fact.subject for fact in chain] == own[:-1]
            assert not any(one in other for i, one in enumerate(own) for j, other in enumerate(own) if i != j)
        names[split] = {chain[0].object for chain in chains} | {chain[0].subject for chain in chains}
    assert len(names["train"]) > 1_500
    assert not names["train"] & names["test"]
