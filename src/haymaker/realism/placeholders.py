"""Real rows with invented names: the relation that a question asks for, and placeholders for what it is about."""

import re
from collections.abc import Sequence
from random import Random

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


def placeholder_chain(
    steps: Sequence[tuple[str, str]], relation_from, rng: Random
) -> tuple[list[Fact], dict[str, str]]:
    """Facts between placeholders for a chain of (question, answer) steps, and what each placeholder stands for.

    `relation_from(name)` makes the facts' relations. Placeholders are distinct; the map is one to one.
    """
    relations = [relation_of(question) for question, _ in steps]
    numbers = rng.sample(range(100, 1000), len(steps) + 1)
    first = f"{relations[0][1]} {numbers[0]}"
    names = [first, *(f"{kind} {number}" for (_, _, kind), number in zip(relations, numbers[1:], strict=True))]
    facts = [
        Fact(relation_from(relation), subject, object_)
        for (relation, _, _), subject, object_ in zip(relations, names, names[1:], strict=False)
    ]
    stands_for = {first: steps[0][0]} | {name: answer for name, (_, answer) in zip(names[1:], steps, strict=True)}
    return facts, stands_for
