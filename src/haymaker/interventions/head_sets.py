"""Sets of heads to intervene on, and the random sets they are compared with. Pure: no torch, no model."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from haymaker.config import PATCHED
from haymaker.errors import ConfigError
from haymaker.heads.scores import HeadScores, check_k
from haymaker.randomness import keyed
from haymaker.records import Head

AGAIN = 200  # draws of a set that was drawn before


def random_heads(
    like: Sequence[Head], heads_per_layer: int, exclude: Iterable[Head], *key: str | int, layers: int | None = None
) -> list[Head]:
    """As many heads as `like` in the same layers, outside `exclude`, drawn by key.

    Where a layer has too few left, the rest come from any of the model's `layers` (by default, those up to the highest
    in `like`). Raises ConfigError where no heads are left.
    """
    rng, closed = keyed(0, "random heads", *key), set(exclude)
    chosen: list[Head] = []
    for head in like:
        layer = [Head(head.layer, i) for i in range(heads_per_layer)]
        if free := [other for other in layer if other not in closed and other not in chosen]:
            chosen.append(rng.choice(free))
    depth = layers or max((head.layer + 1 for head in like), default=0)
    free = [Head(i, j) for i in range(depth) for j in range(heads_per_layer) if Head(i, j) not in closed | set(chosen)]
    missing = len(like) - len(chosen)
    if missing > len(free):
        raise ConfigError(
            f"{len(like)} random heads outside {len(closed)} excluded ones: only {len(chosen) + len(free)} are left; "
            "ask for fewer"
        )
    return chosen + rng.sample(free, missing)


def random_sets(draws: int, like: Sequence[Head], *given: Any, layers: int | None = None) -> Iterator[tuple[Head, ...]]:
    """Distinct sets of `random_heads`, which takes the rest: as many as there are draws, or as are found.

    A draw that was made before is made again under a key of its own; after 200 in vain there are no more.
    """
    seen: set[frozenset[Head]] = set()
    for draw in range(draws):
        again = ((), *((time,) for time in range(1, AGAIN)))
        found = (random_heads(like, *given, draw, *time, layers=layers) for time in again)
        new = next((heads for heads in found if frozenset(heads) not in seen), None)
        if new is None:
            return
        seen.add(frozenset(new))
        yield tuple(new)


@dataclass(frozen=True)
class HeadSet:
    """Heads to intervene on: which kind of set, how many were asked for, which draw (0 unless random)."""

    kind: str
    k: int
    draw: int
    heads: tuple[Head, ...]

    def columns(self) -> dict[str, Any]:
        """The columns of a row that tell head sets apart."""
        return {"heads": self.kind, "k": self.k, "draw": self.draw, "head_list": " ".join(map(str, self.heads))}


def unscored(scores: HeadScores) -> set[Head]:
    """Heads without a score, as those of layers without attention are: no random set may hold one."""
    return {Head(int(layer), int(head)) for layer, head in zip(*np.nonzero(scores.counts == 0), strict=True)}


def ablation_sets(
    scores: HeadScores, counts: Sequence[int], draws: int, seed: int = 0, *, absent: Iterable[Head] = ()
) -> Iterator[HeadSet]:
    """The top k heads for every k, each with random controls of the same layers outside the top of the largest k.

    absent: heads that the model has not, though the scores may (a list of heads gives all others 0).
    """
    check_k(min(counts), scores)
    check_k(max(counts), scores)
    layers, width = scores.mean.shape
    detected = scores.top(max(counts))
    closed = {*detected, *absent, *unscored(scores)}
    yield HeadSet("none", 0, 0, ())
    for k in counts:
        top = scores.top(k)
        yield HeadSet("retrieval", k, 0, tuple(top))
        for draw, drawn in enumerate(random_sets(draws, top, width, closed, seed, k, layers=layers)):
            yield HeadSet("random", k, draw, drawn)


def patching_sets(
    donor: HeadScores,
    recipient: HeadScores,
    k: int,
    threshold: float,
    draws: int,
    *,
    seed: int = 0,
    kinds: Sequence[str] = PATCHED,
) -> Iterator[HeadSet]:
    """Heads active in both (intersection) and in the donor alone (complement), by the donor's ranking; in either
    (union), by the larger of both means; and random heads active in neither, in the layers of the donor's top.

    A set has k heads, or as many as there are (see `largest_sizes`). At the size of each, all that have so many are
    patched, beside random ones: the smallest size compares them all, and no set loses heads to a smaller one. A set of
    none is left out.

    For the other direction exchange donor and recipient. Raises ConfigError for an unknown kind, and where fewer heads
    are left than random ones are wanted.
    """
    if k < 1:
        raise ConfigError(f"k: expected at least 1 head, found {k}")
    active, closed = donor.active(threshold), not_random(donor, recipient, threshold)
    ranked = [head for head in donor.ranked() if head in active]
    sets = sets_of(donor, recipient, threshold, kinds)
    layers, width = donor.mean.shape
    yield HeadSet("none", 0, 0, ())
    for size in sorted(set(largest_sizes(sets, k, donor.mean.size - len(closed)).values())):
        for kind, heads in sets.items():
            if len(heads) >= size:
                yield HeadSet(kind, size, 0, tuple(heads[:size]))
        like = ranked if len(ranked) >= size else sets["union"]  # which alone may be larger than the donor's
        for draw, drawn in enumerate(random_sets(draws, like[:size], width, closed, seed, "patch", layers=layers)):
            yield HeadSet("random", size, draw, drawn)


def not_random(donor: HeadScores, recipient: HeadScores, threshold: float) -> set[Head]:
    """The heads that random sets of patching do not hold."""
    return donor.active(threshold) | recipient.active(threshold) | unscored(donor)


def largest_sizes(sets: Mapping[str, Sequence[Head]], k: int, left: int) -> dict[str, int]:
    """How many heads of each set are patched: k, or as many as it has; beyond the size of the smallest set no more than
    are left for a random one."""
    sizes = {kind: min(k, len(heads)) for kind, heads in sets.items()}
    return {kind: max(min(sizes.values()), min(size, left)) for kind, size in sizes.items()}


def sets_of(
    donor: HeadScores, recipient: HeadScores, threshold: float, kinds: Sequence[str] = PATCHED
) -> dict[str, list[Head]]:
    """The asked kinds of set, whole and best first, those that are not empty. Raises ConfigError for another kind."""
    own, other = donor.active(threshold), recipient.active(threshold)
    ranked = [head for head in donor.ranked() if head in own]
    larger = np.fmax(donor.mean, recipient.mean)  # of one side alone where the other has no score
    sets = {
        "intersection": [head for head in ranked if head in other],
        "complement": [head for head in ranked if head not in other],
        "union": sorted({*ranked, *other}, key=lambda head: (-larger[head], head)),
    }
    if unknown := set(kinds) - sets.keys():
        raise ConfigError(f"kinds of head sets: expected {', '.join(sets)}, found {', '.join(sorted(unknown))}")
    return {kind: sets[kind] for kind in kinds if sets[kind]}


def few_draws(sets: Sequence[HeadSet], draws: int) -> str:
    """In words, of which sizes there are fewer distinct random sets than draws; empty where there are enough."""
    found = Counter(one.k for one in sets if one.kind == "random")
    few = [f"{found[k]} of k = {k}" for k in found if found[k] < draws]
    return f"fewer distinct sets of random heads than the {draws} draws: {', '.join(few)}" if few else ""


def cut_short(donor: HeadScores, recipient: HeadScores, k: int, threshold: float, kinds: Sequence[str]) -> str:
    """Which asked set has no heads, or fewer than k; empty where all is as asked."""
    sets = sets_of(donor, recipient, threshold, kinds)
    left = donor.mean.size - len(not_random(donor, recipient, threshold))
    sizes = largest_sizes(sets, k, left)
    size = min(sizes.values(), default=0)
    told = [f"heads over {threshold:g}, by set: {', '.join(f'{kind} {len(sets.get(kind, ()))}' for kind in kinds)}"]
    if len(sets) < len(kinds):
        told.append("a set of none is left out")
    if 0 < size < k:
        told.append(f"{size} of the {k} heads asked for are patched, as many as the smallest set has")
        told += [f"{kind} also with {found}" for kind, found in sizes.items() if found > size]
        told += [f"{left} heads are left for random sets"] if left < min(k, max(map(len, sets.values()))) else []
    return "; ".join(told) if told[1:] else ""


def identity_sets(scores: HeadScores) -> Iterator[HeadSet]:
    """Nothing, and every head: a model patched into itself must answer alike."""
    every = scores.ranked()
    yield HeadSet("none", 0, 0, ())
    yield HeadSet("identity", len(every), 0, tuple(every))
