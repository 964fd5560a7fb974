"""A question that has to be found first: chains of keys in the context, of which one leads to it (LoongRL's KeyChain).

Every link is a document of its own, {"key": "next key"}, the last one {"key": "question"}; other chains lead to other
questions. The prompt asks to follow the keys from the first one.

Source: LoongRL (arXiv 2510.19363).
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from uuid import UUID

from haymaker.drafts import Alternatives, Document, DocumentRole, Draft
from haymaker.records import Label, Segment, canonical_json

ASKED = 'Start at the key "{key}", follow it from key to key until it gives a question, and answer that question.'


def hidden(draft: Draft, links: int, others: Sequence[str], rivals: int, rng: Random) -> Draft:
    """The draft with its question behind `links` keys, among `rivals` chains that lead to some of `others`."""
    first = sum(label.kind == "evidence" for one in draft.gold for label, _, _ in one[0].marks)
    start, gold = chain(draft.question, links, rng, "gold", first)
    apart = [question for question in others if question != draft.question]
    chosen = rng.sample(apart, min(rivals, len(apart)))
    wrong = [link for question in chosen for link in chain(question, links, rng, "competitor")[1]]
    return replace(
        draft,
        question=ASKED.format(key=start),
        gold=(*draft.gold, *gold),
        competitors=(*rng.sample(wrong, len(wrong)), *draft.competitors),
        source={**draft.source, "question": draft.question, "indirection": links},
    )


def chain(question: str, links: int, rng: Random, role: DocumentRole, first: int = 0) -> tuple[str, list[Alternatives]]:
    """The key that a chain starts at, and its links in order; of a gold one they are evidence, counted from `first`."""
    keys = [str(UUID(int=rng.getrandbits(128), version=4)) for _ in range(links)]
    found: list[Alternatives] = []
    for number, (key, gives) in enumerate(zip(keys, [*keys[1:], question], strict=True)):
        labels = (Label("evidence", first + number),) if role == "gold" else ()
        text = canonical_json({key: gives})
        found.append((Document(f"{role} {key}", (Segment(text, labels),), role, "Keys"),))
    return keys[0], found
