"""What a writer is asked for: a passage for one fact, a question for a chain of them, readings of the result, carriers
of a point. Beside each prompt stands the rule that a text has to pass.

The cache names answers by these texts: changing a word of a prompt means asking, and paying, again.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from haymaker.realism.answers import holds, occurrences
from haymaker.realism.placeholders import OTHER
from haymaker.writing.invented import Invented

NOT_STATED = "NOT STATED"
LONGEST_READING = 40  # words of a reading; a longer one recites the passage
NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffd]")  # control characters, and what stands for lost bytes
QUESTION_WORDS = 12  # of a usual question, for estimates

PASSAGE = """\
Write one paragraph of about {words} words in the style of an encyclopedia, about something invented that is called \
"{subject}".

In one of its sentences, and nowhere else, the paragraph states this fact: {fact}
It is the kind of fact that answers this question about something real: {model}

Write "{subject}" and "{object}" exactly so. Give further details that are plausible and do not answer such a question \
in another way; make up every other name too, and mention nobody and nothing that is real. Reply with the paragraph \
alone: no title, no list, no line breaks, no remark."""

QUESTION = """\
Here {is_are} about invented things:

{passages}

Write the question about "{subject}" whose one answer is "{answer}"{through}. Model its wording on this question about \
something real: {model}

Name "{subject}" in it exactly so, and do not name {hidden}. Reply with the question alone, in one line that ends with \
a question mark."""

READING = """\
{passages}

Question: {question}

Answer from the text above alone, in as few words as possible, without an explanation. If the text does not state the \
answer, reply {not_stated}."""

CARRIER = """\
Write one paragraph of about {words} words of a news report about something invented.

In its course the paragraph makes this point, in words of its own and with every number and name kept: {insight}

Report number {number} of several that make the point: choose a scene and a speaker of your own. Reply with the \
paragraph alone: no title, no list, no line breaks, no remark."""

AGREES = """\
{passage}

Does the text above say the following? {insight}

Reply YES or NO alone."""


@dataclass(frozen=True)
class Wanted:
    """One text that a model is asked for.

    `likely` looks like a good answer, for estimates; `fault` says why a text cannot be used, None where it can.
    """

    purpose: str
    prompt: str
    likely: str
    fault: Callable[[str], str | None]


def passage(facts: Sequence[Invented], hop: int, model: str, words: int) -> Wanted:
    """The passage of about so many words that states the fact of one hop, and gives no other hop away."""
    fact = facts[hop]
    if fact.relation == OTHER[0]:
        said = f'asked such a question about "{fact.subject}", the answer is "{fact.object}".'
    else:
        said = f'the {fact.relation} of "{fact.subject}" is "{fact.object}".'
    prompt = PASSAGE.format(words=words, subject=fact.subject, object=fact.object, fact=said, model=model)
    likely = f"{fact.subject} {fact.object}{lorem(words - 4)}"
    return Wanted(f"passage {hop}", prompt, likely, partial(passage_fault, facts=facts, hop=hop, words=words))


def question(facts: Sequence[Invented], passages: Sequence[str], model: str) -> Wanted:
    """The question about the first subject whose answer is the last object."""
    bridges = [f'"{fact.object}"' for fact in facts[:-1]]
    relations = ", then ".join(f"the {fact.relation}" for fact in facts)
    prompt = QUESTION.format(
        is_are="are passages" if bridges else "is a passage",
        passages="\n\n".join(passages),
        subject=facts[0].subject,
        answer=facts[-1].object,
        through=f", and which takes {relations} in turn" if bridges else "",
        model=model,
        hidden=" or ".join([*bridges, f'"{facts[-1].object}"']),
    )
    likely = f"{facts[0].subject}{lorem(QUESTION_WORDS)}?"
    return Wanted("question", prompt, likely, partial(question_fault, facts=facts))


def reading(purpose: str, asked: str, passages: Sequence[str], likely: str) -> Wanted:
    """The answer that the passages give, if they do."""
    prompt = READING.format(passages="\n\n".join(passages), question=asked, not_stated=NOT_STATED)
    return Wanted(purpose, prompt, likely, reading_fault)


def carrier(insight: str, before: Sequence[str], words: int) -> Wanted:
    """A text that makes a point in its own words, and is none of those before it."""
    number = len(before)
    prompt = CARRIER.format(words=words, insight=insight, number=number + 1)
    likely = f"{number}{lorem(words - 1)}"
    fault = partial(carrier_fault, insight=insight, before=before, words=words)
    return Wanted(f"carrier {number}", prompt, likely, fault)


def agreement(number: int, passage: str, insight: str) -> Wanted:
    """Whether a carrier says what it should: YES or NO."""
    return Wanted(f"agreement {number}", AGREES.format(passage=passage, insight=insight), "YES", reading_fault)


def lorem(words: int) -> str:
    return " lorem" * words


# ---- faults that a rule can see


def passage_fault(text: str, facts: Sequence[Invented], hop: int, words: int) -> str | None:
    """A passage names its subject and its answer, word for word, and nothing of the other hops."""
    own = (facts[hop].object, facts[hop].subject)
    others = [name for fact in facts for name in (fact.subject, fact.object) if name not in own]
    if not stands_in(text, own[0]):
        return "does not hold its answer"
    if not stands_in(text, own[1]):
        return "does not name its subject"
    return form_fault(text, words) or ("gives another hop away" if holds(text, others) else None)


def question_fault(text: str, facts: Sequence[Invented]) -> str | None:
    """A question names its subject and none of the answers."""
    if "\n" in text or not text.endswith("?"):
        return "is not one line that ends with a question mark"
    if NO_TEXT.search(text):
        return "holds a character that is no text"
    if not stands_in(text, facts[0].subject):
        return "does not name its subject"
    return "gives an answer away" if holds(text, [fact.object for fact in facts]) else None


def carrier_fault(text: str, insight: str, before: Sequence[str], words: int) -> str | None:
    """A carrier has words of its own."""
    if insight in text:
        return "repeats the point word for word"
    return "repeats another carrier" if text in before else form_fault(text, words)


def reading_fault(text: str) -> str | None:
    return None if len(text.split()) <= LONGEST_READING else "is not a short answer"


def form_fault(text: str, words: int) -> str | None:
    if "\n" in text:
        return "is not one paragraph"
    if NO_TEXT.search(text):
        return "holds a character that is no text"
    count = len(text.split())
    return None if words / 2 <= count <= words * 2 else "is shorter than half the words or longer than twice"


def stands_in(text: str, name: str) -> bool:
    """Whether a name stands in a text as it is written, as whole words."""
    return any(text[start:stop] == name for start, stop in occurrences(text, name))
