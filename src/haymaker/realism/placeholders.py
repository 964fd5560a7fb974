"""Real rows with invented names: the relation that a question asks for, and placeholders for what it is about."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from haymaker.errors import ConfigError
from haymaker.miniature.grammar import Relation
from haymaker.miniature.world import Fact

# Patterns of a question (lower case), the relation it asks for, and the kinds of what it is about and of its answer.
PATTERNS: tuple[tuple[str, str, str, str], ...] = (
    (r"\bwho (?:wrote|is the (?:author|writer))", "author", "Work", "Person"),
    (r"\bwho (?:sings|sang|sing|recorded|performed|originally sang)", "performer", "Work", "Person"),
    (r"\bwho (?:plays|played|voices|voiced|stars|portrays|portrayed)", "actor", "Role", "Person"),
    (r"\bwho (?:directed|produced)", "director", "Work", "Person"),
    (r"\bwho (?:won|has won|wins|holds|scored|got|has the most)", "winner", "Prize", "Person"),
    (r"\bwho (?:invented|discovered|founded|created|built|made|designed|developed)", "founder", "Item", "Person"),
    (r"\bwho (?:is|was|are|were) the (?:\w+ ){0,3}(?:president|king|queen|minister|ceo|leader|captain|coach|governor)",
     "leader", "Place", "Person"),
    (r"^(?:in |on |from )?(?:when|what year|which year|what date|what time)", "date", "Event", "Date"),
    (r"^(?:in |from )?(?:where|what (?:country|city|state|place)|which (?:country|city|state|place))",
     "location", "Item", "Place"),
    (r"^(?:how many|how much|how long|how old|what percentage)", "number", "Item", "Number"),
    (r"\b(?:who|whom|whose)\b", "person", "Item", "Person"),
)  # fmt: skip
SAID = re.compile(r"^the ([a-z ]{3,40}?) of .+ is (?:whom|who|what|where)\b")
OTHER = ("answer", "Item", "Name")
LIMITED = tuple(relation for _, relation, _, _ in PATTERNS[:-1])
"""Relations of real-limited on real rows: those that a pattern names."""
LIMITED_STEPS = (
    *LIMITED, "capital", "composer", "country", "father", "located in the administrative territorial entity",
    "member of sports team", "part of", "place of birth", "place of death", "producer", "shares border with", "spouse",
)  # fmt: skip
"""Relations of real-limited where steps name theirs (MuSiQue): those above and the commonest that are named."""
QUANTITY = re.compile(r"\d")  # real-limited insights: those that state a quantity or a date
NUMBERS = range(100, 1000)  # of placeholders: all of three digits, so that no name stands inside another


def relation_of(question: str) -> tuple[str, str, str]:
    """The relation a question asks for, and the kinds of what it is about and of its answer.

    MuSiQue's steps often name it themselves: "Green >> performer".
    """
    subject, named, relation = question.partition(">>")
    if named:
        return relation.strip(), "Item", "Name"
    said = SAID.match(subject.strip().lower())
    if said:
        return said.group(1), "Item", "Name"
    for pattern, name, about, answer in PATTERNS:
        if re.search(pattern, subject.strip().lower()):
            return name, about, answer
    return OTHER


def placeholder_chain(steps: Sequence[tuple[str, str]], rng: Random) -> tuple[list[Fact], dict[str, str]]:
    """Facts between placeholders for a chain of (question, answer) steps, and what each placeholder stands for.

    Placeholders are distinct, so the map can be reversed. A question whose steps branch becomes a chain of as many.
    """
    relations = [relation_of(question) for question, _ in steps]
    numbers = rng.sample(NUMBERS, len(steps) + 1)
    first = f"{relations[0][1]} {numbers[0]}"
    names = [first, *(f"{kind} {number}" for (_, _, kind), number in zip(relations, numbers[1:], strict=True))]
    facts = [
        Fact(template_relation(relation), subject, object_)
        for (relation, _, _), subject, object_ in zip(relations, names, names[1:], strict=False)
    ]
    stands_for = {first: steps[0][0]} | {name: answer for name, (_, answer) in zip(names[1:], steps, strict=True)}
    return facts, stands_for


def placeholder_rivals(chain: Sequence[Fact], count: int, rng: Random) -> list[Fact]:
    """`count` facts of the chain's relations about other placeholders, linked in chains of the same length."""
    names = [chain[0].subject, *(fact.object for fact in chain)]
    taken = {name.split()[-1] for name in names}
    free = [number for number in NUMBERS if str(number) not in taken]
    chains = -(-count // len(chain))
    if chains * len(names) > len(free):
        most = len(free) // len(names) * len(chain)
        raise ConfigError(f"competitors: placeholders give at most {most} beside {len(chain)} hops, not {count}")
    numbers = iter(rng.sample(free, chains * len(names)))
    rivals: list[Fact] = []
    for _ in range(chains):
        others = [f"{name.rsplit(' ', 1)[0]} {next(numbers)}" for name in names]
        rivals += [Fact(fact.relation, *pair) for fact, pair in zip(chain, pairwise(others), strict=True)]
    return rivals[:count]


def template_relation(name: str) -> Relation:
    """A relation known by its name alone."""
    template, question = f"The {name} of {{x}} is {{y}}.", f"What is the {name} of {{x}}?"
    return Relation(name, "person", "person", (template,), (template,), template, (question,), (question,))


def meaning(provenance: Iterable[Mapping[str, Any]], symbol: str) -> str:
    """What a symbol of a row stands for in its source, back through every map of the row's provenance.

    A symbol that stands for nothing (a rival's, say) is given back as it is.
    """
    maps = {record["kind"]: record for record in provenance}
    name_of = {number: name for name, number in maps.get("symbol_map", {}).get("symbol_of", {}).items()}
    name = name_of.get(symbol, symbol)
    return maps.get("placeholders", {}).get("stands_for", {}).get(name, name)
