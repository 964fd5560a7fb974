"""Invented entities in the place of a real row's: what a writer is to write about."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from haymaker.miniature.world import World
from haymaker.realism.placeholders import relation_of

MONTHS = "January February March April May June July August September October November December".split()
EARLIER = re.compile(r"#(\d+)")  # how MuSiQue's steps name the answer of an earlier one


@dataclass(frozen=True)
class Invented:
    """One fact that is nowhere true: `subject` stands in the relation of that name to `object`."""

    relation: str
    subject: str
    object: str


def invented_chain(steps: Sequence[tuple[str, str]], world: World, rng: Random) -> list[Invented]:
    """One fact a step, each about the answer of the one before. Names are the world's: no split shares one."""
    relations = [relation_of(question) for question, _ in steps]
    names: list[str] = []
    for kind in (relations[0][1], *(answer for _, _, answer in relations)):
        name = invented(kind, world, rng)
        while any(name in other or other in name for other in names):
            name = invented(kind, world, rng)  # a name inside another would be found where only the other stands
        names.append(name)
    return [
        Invented(relation, subject, object_)
        for (relation, _, _), subject, object_ in zip(relations, names, names[1:], strict=False)
    ]


def invented(kind: str, world: World, rng: Random) -> str:
    """A name, a date or a number, as the kind wants it."""
    if kind == "Date":
        return f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1702, 1989)}"
    if kind == "Number":
        return str(rng.randint(113, 989))
    if kind == "Place":
        return world.entity("place", rng)
    return f"{world.name(rng)} {world.name(rng)}" if kind == "Person" else world.name(rng)


def model_questions(steps: Sequence[tuple[str, str]]) -> list[str]:
    """Every step's real question, with the answers of earlier steps in place of their numbers."""
    answers = [answer for _, answer in steps]

    def said(match: re.Match[str]) -> str:
        number = int(match.group(1)) - 1
        return answers[number] if number < len(answers) else match.group()

    return [EARLIER.sub(said, question) for question, _ in steps]
