"""Concept realism, high: a language model writes the passages and the question, and reads them to see that they do.

The facts are invented here and only worded by the model, so the answer is known by construction. Every text is checked
twice: by rule where it comes in, and by a reading of the model's own: the answer must follow from the passages, and
must not follow without the last one among other passages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from haymaker.miniature.world import Split, World
from haymaker.randomness import keyed, shuffle
from haymaker.realism.answers import holds
from haymaker.realism.written import Asked, Written
from haymaker.writing.config import WriterConfig
from haymaker.writing.desk import Desk, Unusable, form_fault, reading_fault, stands_in
from haymaker.writing.invented import Invented, invented_chain, model_questions
from haymaker.writing.prompts import (
    NOT_STATED,
    agreement_prompt,
    carrier_prompt,
    passage_prompt,
    question_prompt,
    reading_prompt,
)
from haymaker.writing.records import Model
from haymaker.writing.spend import OverCap


@dataclass(frozen=True)
class Failure:
    """A row that was not written: what it asked for and why nothing came of it."""

    key: str
    question: str
    reason: str


class Writer:
    """Writes rows with a model. `everything` are the rows of the source, whose passages serve as a haystack."""

    def __init__(self, config: WriterConfig, model: Model, everything: Sequence[Asked], split: Split = "train") -> None:
        self.config, self.model, self.world = config, model, World(split, config.seed)
        self.haystack = sorted({text for asked in everything for text in asked.passages})

    async def write(self, asked: Asked) -> Written | Failure:
        """One row, or why there is none. Raises what the model raises to end the run."""
        desk = Desk(asked, self.config, self.model)
        work = self.chain if asked.steps[0][1] else self.carriers
        try:
            return await work(desk)
        except Unusable as unusable:
            return Failure(asked.key, asked.question, str(unusable))
        except OverCap:
            return Failure(asked.key, asked.question, "the spend cap is reached")

    async def chain(self, desk: Desk) -> Written:
        """A question of one hop or several: a passage for each, the question, two readings of them."""
        steps = desk.asked.steps
        facts = invented_chain(steps, self.world, keyed(self.config.seed, desk.asked.key, "invented"))
        models, doubt = model_questions(steps), ""
        for _ in range(self.config.attempts):
            passages = [await self.passage(desk, facts, hop, model) for hop, model in enumerate(models)]
            question = await self.question(desk, facts, passages)
            doubt = await self.doubt(desk, facts, passages, question)
            if not doubt:
                bridges = tuple(fact.object for fact in facts[:-1])
                titles = tuple(fact.subject for fact in facts)
                provenance = desk.provenance([[fact.relation, fact.subject, fact.object] for fact in facts])
                return Written(tuple(passages), question, facts[-1].object, provenance, bridges, titles)
        raise Unusable(doubt)

    async def passage(self, desk: Desk, facts: Sequence[Invented], hop: int, model: str) -> str:
        """The passage that states the fact of one hop, and gives no other hop away."""
        fact, words = facts[hop], self.config.words
        others = [name for other in facts for name in (other.subject, other.object)]
        hidden = [name for name in others if name not in (fact.subject, fact.object)]
        likely = f"{fact.subject} {fact.object}" + " lorem" * (words - 4)

        def fault(text: str) -> str | None:
            missing = [name for name in (fact.object, fact.subject) if not stands_in(text, name)]
            if missing:
                return "does not hold its answer" if fact.object in missing else "does not name its subject"
            return form_fault(text, words) or ("gives another hop away" if holds(text, hidden) else None)

        return await desk.text(f"passage {hop}", passage_prompt(fact, model, words), likely, fault)

    async def question(self, desk: Desk, facts: Sequence[Invented], passages: Sequence[str]) -> str:
        """The question whose answer is the last object."""
        hidden = [fact.object for fact in facts]

        def fault(text: str) -> str | None:
            if "\n" in text or not text.endswith("?"):
                return "is not one line that ends with a question mark"
            if not stands_in(text, facts[0].subject):
                return "does not name its subject"
            return "gives an answer away" if holds(text, hidden) else None

        prompt = question_prompt(facts, passages, desk.asked.question)
        return await desk.text("question", prompt, f"{facts[0].subject}" + " lorem" * 12 + "?", fault)

    async def doubt(self, desk: Desk, facts: Sequence[Invented], passages: Sequence[str], question: str) -> str:
        """Why the answer does not follow from the passages, or follows without the last; empty where neither is so."""
        answer = facts[-1].object
        read = await desk.text("reading", reading_prompt(question, passages), answer, reading_fault)
        if not holds(read, [answer]):
            return "reading: the answer does not follow from the passages"
        others = self.others(desk.asked)
        if not others and len(passages) == 1:
            return ""
        around = [*passages[:-1], *others]
        keyed(self.config.seed, desk.asked.key, "order").shuffle(around)
        blind = await desk.text("blind reading", reading_prompt(question, around), NOT_STATED, reading_fault)
        return "blind reading: the answer follows without its passage" if holds(blind, [answer]) else ""

    def others(self, asked: Asked) -> list[str]:
        """Passages of other rows, some of those that the row may stand among."""
        wanted = self.config.haystack_passages
        order = shuffle(len(self.haystack), keyed(self.config.seed, asked.key, "haystack"))
        return list(islice((self.haystack[i] for i in order if self.haystack[i] not in asked.passages), wanted))

    async def carriers(self, desk: Desk) -> Written:
        """Texts that make one point, each in its own words: as many as the row has carriers."""
        insight = desk.asked.question
        passages: list[str] = []
        for number in range(len(desk.asked.passages)):
            passages.append(await self.carrier(desk, insight, number, passages))
        return Written(tuple(passages), insight, "", desk.provenance([]))

    async def carrier(self, desk: Desk, insight: str, number: int, before: Sequence[str]) -> str:
        """One text that says the insight, by the model's own reading, and is none of those before it."""
        words = self.config.words

        def fault(text: str) -> str | None:
            if insight in text or text in before:
                return "repeats the point word for word" if insight in text else "repeats another carrier"
            return form_fault(text, words)

        for _ in range(self.config.attempts):
            prompt = carrier_prompt(insight, number + 1, words)
            text = await desk.text(f"carrier {number}", prompt, f"{number}" + " lorem" * (words - 1), fault)
            said = await desk.text(f"agreement {number}", agreement_prompt(text, insight), "YES", reading_fault)
            if said.strip(" .*\"'").upper() == "YES":
                return text
        raise Unusable("agreement: a carrier does not make the point")
