"""The rows that a miniature is pre-trained on: several documents, then several queries about them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from haymaker.miniature.grammar import RELATIONS
from haymaker.miniature.world import Fact, World, dictionary, filler, question, statement
from haymaker.records import Span

CONTEXT_WEIGHT = 0.15  # of every token that is no answer, in the loss
LANGUAGE_WEIGHT = 0.3  # of every token of a row of prose alone


@dataclass(frozen=True)
class Phase:
    """Steps on rows of one length (tokens) and one mixture; Muon's rate goes linearly from `rate` to `final_rate`.

    cloze: share of the queries that state the fact again up to its object, instead of asking for it.
    language: share of the rows that are prose alone, every token of which is to be predicted.
    """

    steps: int
    length: int
    tokens_per_step: int
    shares: dict[str, float]
    cloze: float
    rate: float
    final_rate: float
    language: float = 0.0


# Shares of rows by the manner of their documents; the world's real prose is the rest. Matching a query's name to a
# document's is learned suddenly, after some 500 steps on bare pairs of names and not on prose alone.
LEDGER = {"ledger": 1.0}
TERSE = {"symbolic": 0.06, "ledger": 0.25, "template": 0.25, "writer": 0.05}
FULL = {"symbolic": 0.06, "ledger": 0.04, "template": 0.06, "writer": 0.10}

Asked = tuple[str, str]  # what stands before an answer, and the answer


def asked(query: str, answer: str) -> Asked:
    return f"Question: {query}\nAnswer:", answer


def draw_manner(rng: Random, shares: dict[str, float]) -> str:
    draw = rng.random()
    for manner, share in shares.items():
        if draw < share:
            return manner
        draw -= share
    return "real"


def stream(manner: Any, world: World, rng: Random, cloze: float) -> Iterator[tuple[str, Asked]]:
    """Endless (document, query about it) in one manner."""
    if manner == "symbolic":
        return symbols(rng)
    return ledger(world, rng, cloze) if manner == "ledger" else prose(world, rng, manner, cloze)


def ledger(world: World, rng: Random, cloze: float) -> Iterator[tuple[str, Asked]]:
    """Bare pairs of names, asked for by the first."""
    names: list[str] = []
    while True:
        first, second = world.name(rng, names), world.name(rng, names)
        names += [first, second]
        yield f"{first}: {second}", (f"{first}:", second) if rng.random() < cloze else asked(f"{first}?", second)


def prose(world: World, rng: Random, manner: Any, cloze: float) -> Iterator[tuple[str, Asked]]:
    """Documents of one relation or of several, no two about the same entities."""
    relation = rng.choice(RELATIONS) if rng.random() < 0.7 else None
    facts: list[Fact] = []
    while True:
        taken = [name for fact in facts for name in (fact.subject, fact.object)]
        fact = second_fact(world, rng, facts, taken) if relation is None and rng.random() < 0.3 else None
        facts.append(fact or world.fact(rng, relation, taken))
        document = "".join(piece.text for piece in statement(facts[-1], rng, manner))
        yield (
            document,
            restated(facts[-1], rng, manner, cloze) or asked(question(facts[-1], rng, manner), facts[-1].object),
        )


def restated(fact: Fact, rng: Random, manner: Any, cloze: float) -> Asked | None:
    """The fact in other words up to its object, if a draw says so and they name the subject first."""
    before = "".join(piece.text for piece in statement(fact, rng, manner)).partition(fact.object)[0].rstrip()
    return (before, fact.object) if rng.random() < cloze and fact.subject in before else None


def second_fact(world: World, rng: Random, facts: list[Fact], taken: list[str]) -> Fact | None:
    """Another relation of an entity already told of: what keeps a model from matching names alone."""
    if not facts:
        return None
    known = rng.choice(facts)
    told = {fact.relation for fact in facts if fact.subject == known.subject}
    others = [r for r in RELATIONS if r.subject == known.relation.subject and r not in told]
    if not others:
        return None
    relation = rng.choice(others)
    return Fact(relation, known.subject, world.entity(relation.object, rng, taken))


def symbols(rng: Random) -> Iterator[tuple[str, Asked]]:
    """Endless dictionaries of numbers, each with a look-up."""
    pairs = iter(dictionary(rng, 100).items())
    for (a, b), (c, d) in zip(pairs, pairs, strict=False):
        yield f"{{{a}: {b}, {c}: {d}}}", asked(f"What is the value of {a}?", b)


def language(world: World, rng: Random, length: int, size_of: Callable[[str], int]) -> str:
    """Prose without a question: passages, and now and then a statement, to `length` tokens at most."""
    text, used = "", 1
    while True:
        told = "".join(piece.text for piece in statement(world.fact(rng), rng)) if rng.random() < 0.15 else filler(rng)
        size = size_of(f"{told} ")
        if used + size > length:
            return text
        text, used = f"{text}{told} ", used + size


def row(world: World, key: int, phase: Phase, size_of: Callable[[str], int]) -> tuple[str, list[Span]]:
    """The text of training row `key`, at most `phase.length` tokens, and the character spans of its answers.

    Documents fill a drawn share of the length, questions about some of them the rest.
    """
    rng = world.rng("pretrain", key)
    if phase.language and rng.random() < phase.language:
        return language(world, rng, phase.length, size_of), []
    documents = stream(draw_manner(rng, phase.shares), world, rng, phase.cloze)
    text, queries, used = "", [], 1
    share = rng.uniform(0.4, 0.75)
    for number, (document, query) in enumerate(documents, 1):
        line = f"[{number}] {document}\n"
        if number > 1 and used + size_of(line) > share * phase.length:
            break
        text, used = text + line, used + size_of(line)
        queries.append(query)
    spans = []
    for start, answer in rng.sample(queries, len(queries)):
        stop = f" {answer}<|end|>"
        if used + size_of(start + stop) > phase.length:
            break
        spans.append(Span(len(text + start), len(text + start + stop)))
        text, used = text + start + stop, used + size_of(start + stop)
    return text, spans


def batches(tokenizer: Any, world: World, steps: Iterable[tuple[int, Phase]]) -> Iterator[tuple[Tensor, Tensor]]:
    """(ids, weights) [batch, token] of every step, which its number and phase determine."""
    backend = tokenizer.backend_tokenizer

    def size_of(text: str) -> int:
        return len(backend.encode(text, add_special_tokens=False).ids)

    for step, phase in steps:
        keys = range(step * 1_000, step * 1_000 + phase.tokens_per_step // phase.length)
        yield collate(backend, [row(world, key, phase, size_of) for key in keys])


def collate(backend: Tokenizer, rows: list[tuple[str, list[Span]]]) -> tuple[Tensor, Tensor]:
    """Padded ids and loss weights [batch, token]."""
    encodings = backend.encode_batch([text for text, _ in rows])
    width = max(len(encoding.ids) for encoding in encodings)
    ids, weights = torch.full((len(rows), width), 2), torch.zeros(len(rows), width)
    for i, (encoding, (_, answers)) in enumerate(zip(encodings, rows, strict=True)):
        ids[i, : len(encoding.ids)] = torch.tensor(encoding.ids)
        weights[i, 1 : len(encoding.ids)] = CONTEXT_WEIGHT if answers else LANGUAGE_WEIGHT
        for span in answers:
            weights[i, encoding.char_to_token(span.start + 1) : (encoding.char_to_token(span.stop - 1) or 0) + 1] = 1.0
    return ids, weights
