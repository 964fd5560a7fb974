"""Where documents stand: planned depths of the gold ones, stratified and crossed with hops, and the others around."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from haymaker.data.fit import Amount
from haymaker.drafts import Document
from haymaker.randomness import keyed

Item = TypeVar("Item")
STRATA = 10  # parts of the context's depth that planned positions visit equally often


def planned_depths(seed: int, row: int, hops: int) -> list[float]:
    """Planned shares of the context before each of a row's gold documents, a function of seed, row and hop alone.

    Every ten rows visit every tenth of the context once with each hop (a Latin square of hops and strata): no two hops
    of a row share a tenth, and which hop stands in front changes from block to block.
    """
    block, place = divmod(row, STRATA)
    strata = keyed(seed, "strata", 0, block).sample(range(STRATA), STRATA)
    turns = keyed(seed, "turns", block // (STRATA - 1)).sample(range(1, STRATA), STRATA - 1)
    depths = []
    for hop in range(hops):
        turn = turns[(hop - 1 + block) % len(turns)] if hop % STRATA else 0
        stratum = strata[(place + turn) % STRATA]
        depths.append((stratum + keyed(seed, row, "depth", hop).random()) / STRATA)
    return depths


def slot_at(costs: Sequence[Amount], depth: float, own: Amount) -> int:
    """Before how many of the others a document of `own` tokens has its middle closest to a share `depth` of all tokens.

    Every place is as likely as its neighbours then, the first and the last one too.
    """
    before, wanted = 0.0, depth * (sum(costs) + own)
    for slot, cost in enumerate(costs):
        if before + (cost + own) / 2 >= wanted:
            return slot
        before += cost
    return len(costs)


def spread(rivals: Sequence[Item], others: Sequence[Item], rng: Random) -> list[Item]:
    """The rivals at chance places among the others."""
    shuffled = rng.sample(list(rivals), len(rivals))
    return merged(shuffled, others, rng)


def merged(guests: Sequence[Item], hosts: Sequence[Item], rng: Random) -> list[Item]:
    """The guests at chance places among the hosts, each in their order."""
    places = sorted(rng.random() for _ in guests)
    documents: list[Item] = []
    start = 0
    for place, guest in zip(places, guests, strict=True):
        stop = round(place * len(hosts))
        documents += [*hosts[start:stop], guest]
        start = stop
    return [*documents, *hosts[start:]]


def parts_around(documents: Sequence[Document], places: Sequence[int]) -> list[list[Document]]:
    """The documents before, between and behind those at `places` (ascending)."""
    bounds = [-1, *places, len(documents)]
    return [list(documents[start + 1 : stop]) for start, stop in zip(bounds, bounds[1:], strict=False)]


def shared_out(
    documents: Sequence[Document], costs: Sequence[Amount], held: Sequence[Amount], wanted: Sequence[float]
) -> list[list[Document]]:
    """The documents in order, as many to each part as bring what stands before its end to the tokens wanted there.

    `held` are the tokens that each part has already; the last part takes what is left.
    """
    parts: list[list[Document]] = [[] for _ in held]
    part, before = 0, held[0]
    for document, cost in zip(documents, costs, strict=True):
        while part < len(wanted) and before + cost / 2 >= wanted[part]:
            part += 1
            before += held[part]
        parts[part].append(document)
        before += cost
    return parts
