"""What a writer is asked: a passage for one fact, a question for a chain of them, and two readings of the result.

The cache names answers by these texts: changing a word here means asking, and paying, again.
"""

from collections.abc import Sequence

from haymaker.realism.placeholders import OTHER
from haymaker.writing.invented import Invented

NOT_STATED = "NOT STATED"

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


def passage_prompt(fact: Invented, model: str, words: int) -> str:
    """Asks for the passage that states one fact."""
    if fact.relation == OTHER[0]:
        said = f'asked such a question about "{fact.subject}", the answer is "{fact.object}".'
    else:
        said = f'the {fact.relation} of "{fact.subject}" is "{fact.object}".'
    return PASSAGE.format(words=words, subject=fact.subject, object=fact.object, fact=said, model=model)


def question_prompt(chain: Sequence[Invented], passages: Sequence[str], model: str) -> str:
    """Asks for the question whose answer is the chain's last object."""
    bridges = [f'"{fact.object}"' for fact in chain[:-1]]
    through = f", and which takes {joined([f'the {fact.relation}' for fact in chain])} in turn" if bridges else ""
    return QUESTION.format(
        is_are="are passages" if bridges else "is a passage",
        passages="\n\n".join(passages),
        subject=chain[0].subject,
        answer=chain[-1].object,
        through=through,
        model=model,
        hidden=" or ".join([*bridges, f'"{chain[-1].object}"']),
    )


def reading_prompt(question: str, passages: Sequence[str]) -> str:
    """Asks for the answer that the passages give, if they do."""
    return READING.format(passages="\n\n".join(passages), question=question, not_stated=NOT_STATED)


def carrier_prompt(insight: str, number: int, words: int) -> str:
    """Asks for a text that makes a point in its own words, the `number`th of several."""
    return CARRIER.format(words=words, insight=insight, number=number)


def agreement_prompt(passage: str, insight: str) -> str:
    """Asks whether a text says what it should; the answer is YES or NO."""
    return AGREES.format(passage=passage, insight=insight)


def joined(parts: Sequence[str]) -> str:
    return ", then ".join(parts)
