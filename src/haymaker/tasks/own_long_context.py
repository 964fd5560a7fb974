"""Layouts of long-context benchmarks, read from the user's files: MRCR, RULER, LongBench, BABILong, NoLiMa.

Where a benchmark does not say what an answer rests on, evidence is the sentence in which it stands exactly once; a row
in which it does not is kept without evidence, for these rows are there to be answered.
"""

import json
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from haymaker.errors import DataError
from haymaker.files import required, texts_of
from haymaker.realism.answers import occurrences
from haymaker.tasks.own_layouts import Reader, Row, evidence_of, name_of, turns_in
from haymaker.tasks.own_rows import NO_QUESTION, Found, OwnDocument, Question, Talk, sentence_around
from haymaker.tasks.own_spans import Range, Turn, ranges_in

EMPTY = "the answer is empty"


def answered(said: str, answers: Sequence[str], row: Row, place: str, question: str = "") -> Found:
    """A prompt of one turn with its answers; evidence is what the row says, else the sentence that alone says each."""
    kept = tuple(answer.strip() for answer in answers if answer.strip())
    if not kept:
        return EMPTY
    evidence = evidence_of(row, said, place) if "evidence" in row else sentences_of(said, kept)
    return Talk((Turn("user", said),), kept, evidence, question, name_of(row))


def sentences_of(text: str, answers: Sequence[str]) -> tuple[Range, ...]:
    """The sentences in which an answer stands exactly once in the text."""
    places = [occurrences(text, answer) for answer in answers]
    found = {sentence_around(text, one[0]) for one in places if len(one) == 1}
    merged: list[Range] = []
    for start, stop in sorted(found):
        if merged and start < merged[-1][1]:
            start, stop = merged.pop()[0], max(stop, start)
        merged.append((start, stop))
    return tuple(ranges_in(merged, "evidence"))


def ruler(row: Row, place: str) -> Found:
    """input, outputs, and perhaps the answer_prefix that stands behind the input."""
    prefix = row.get("answer_prefix") or ""
    asked = row.get("question")
    said, question = required(row, "input", str, place) + str(prefix), asked if isinstance(asked, str) else ""
    return answered(said, texts_of(row, "outputs", place), row, place, question)


def longbench(row: Row, place: str) -> Found:
    """LongBench's question answering: input (the question), context, answers."""
    question, context = (required(row, key, str, place) for key in ("input", "context"))
    if not question.strip():
        return NO_QUESTION  # summaries and counts, which LongBench asks for in prompts of its own
    asked = f"{context}\n\nQuestion: {question}\nAnswer:"
    return answered(asked, texts_of(row, "answers", place), row, place, question)


def babilong(row: Row, place: str) -> Found:
    """input (the text), question, target."""
    text, question, target = (required(row, key, str, place) for key in ("input", "question", "target"))
    return answered(f"{text}\n\nQuestion: {question}\nAnswer:", [target], row, place, question)


def mrcr(row: Row, place: str) -> Found:
    """OpenAI-MRCR: prompt (messages, as JSON text or a list), answer, the random string that it starts with.

    Evidence is the assistant's turn that shall be given again: of those that say it the one that answers the message at
    `desired_msg_index`, which is the user's.
    """
    prompt, answer = required(row, "prompt", (str, list), place), required(row, "answer", str, place)
    turns = turns_in(messages_in(prompt, place), ("role", "content"), place)
    wanted = answer.removeprefix(required(row, "random_string_to_prepend", str, place))
    starts = list(accumulate((len(turn.text) for turn in turns), initial=0))
    saying = [i for i, turn in enumerate(turns) if turn.text == wanted and turn.text]
    index = row.get("desired_msg_index")
    asked = [index, index + 1] if isinstance(index, int) else []  # a maker of such rows may mean the answer itself
    chosen = [i for i in saying if i in asked] or saying
    evidence = tuple((starts[i], starts[i + 1]) for i in chosen[:1])
    if not answer.strip() or not turns:
        return EMPTY
    return Talk(tuple(turns), (answer,), evidence, turns[-1].text, name_of(row))


def messages_in(prompt: str | list[Any], place: str) -> list[Any]:
    if isinstance(prompt, list):
        return prompt
    try:
        found = json.loads(prompt)
    except ValueError as error:
        raise DataError(f"{place}: 'prompt' should be messages in JSON, found otherwise ({error})") from None
    if not isinstance(found, list):
        raise DataError(f"{place}: 'prompt' should be a list of messages in JSON, found {type(found).__name__}")
    return found


def nolima(row: Row, place: str) -> list[Found]:
    """NoLiMa's needle sets: a question over its needle for each test and each kind of question.

    The haystack is the recipe's pool; a distractor of the kind stands there too. {1}, {2}, ... are a test's arguments.
    {CHAR} in the needle is one of the character set in turn, and the answer; else the test's gold_answers are.
    """
    people = texts_of({"character_set": [], **row}, "character_set", place)
    found: list[Found] = []
    for number, (test, told) in enumerate(required(row, "tests", dict, place).items()):
        where = f"{place}, tests[{test}]"
        answers = golds_of(row, told, people[number % len(people)] if people else "", where)
        for kind in required(row, "questions", dict, place):
            asked = nolima_question(row, kind, answers[0], texts_of(told, "input_args", where), place)
            name = "_".join(filter(None, (name_of(row), test, kind)))  # as their own tests are called
            found.append(Question(asked[0], answers, asked[1], name))
    return found


def golds_of(row: Row, told: Row, person: str, where: str) -> tuple[str, ...]:
    """What counts as right in a test."""
    if "{CHAR}" in required(row, "needle", str, where):
        if not person:
            raise DataError(f"{where}: the needle asks for a {{CHAR}}, and character_set holds none")
        return (person,)
    gold = told.get("gold_answers")
    return tuple(texts_of({"gold_answers": [gold] if isinstance(gold, str) else gold}, "gold_answers", where))


def nolima_question(
    row: Row, kind: str, person: str, arguments: Sequence[str], place: str
) -> tuple[str, tuple[OwnDocument, ...]]:
    """What is asked, and the needle with its distractor, if there is one."""
    question, needle = (filled(text, person, arguments) for text in (row["questions"][kind], row["needle"]))
    own = [OwnDocument(needle, "", True, ((0, len(needle)),))]
    other = required({"distractors": {}, **row}, "distractors", dict, place).get(kind)
    if isinstance(other, str) and other:
        own.append(OwnDocument(filled(other, person, arguments)))
    return question, tuple(own)


def filled(text: str, person: str, arguments: Sequence[str]) -> str:
    for number, argument in enumerate(arguments, 1):
        text = text.replace(f"{{{number}}}", argument)
    return text.replace("{CHAR}", person)


MRCR = Reader(("prompt", "answer", "random_string_to_prepend"), mrcr)
RULER = Reader(("input", "outputs"), ruler)
LONGBENCH = Reader(("input", "context", "answers"), longbench)
BABILONG = Reader(("input", "question", "target"), babilong)
NOLIMA = Reader(("needle", "questions", "tests"), nolima)
