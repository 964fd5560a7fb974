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
from haymaker.tasks.own_rows import Found, OwnDocument, Question, Talk, sentence_around
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
    asked = f"{context}\n\nQuestion: {question}\nAnswer:"
    return answered(asked, texts_of(row, "answers", place), row, place, question)


def babilong(row: Row, place: str) -> Found:
    """input (the text), question, target."""
    text, question, target = (required(row, key, str, place) for key in ("input", "question", "target"))
    return answered(f"{text}\n\nQuestion: {question}\nAnswer:", [target], row, place, question)


def mrcr(row: Row, place: str) -> Found:
    """OpenAI-MRCR: prompt (messages, as JSON text or a list), answer, the random string that it starts with.

    Evidence is the assistant's turn that shall be given again: the one at `desired_msg_index` of those that say it.
    """
    prompt, answer = required(row, "prompt", (str, list), place), required(row, "answer", str, place)
    turns = turns_in(messages_in(prompt, place), ("role", "content"), place)
    wanted = answer.removeprefix(required(row, "random_string_to_prepend", str, place))
    starts = list(accumulate((len(turn.text) for turn in turns), initial=0))
    saying = [i for i, turn in enumerate(turns) if turn.text == wanted and turn.text]
    chosen = [i for i in saying if i == row.get("desired_msg_index")] or saying[:1]
    evidence = tuple((starts[i], starts[i + 1]) for i in chosen)
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

    The haystack is the recipe's pool. {CHAR} is one of the character set, {1}, {2}, ... are a test's arguments.
    """
    people, tests = texts_of(row, "character_set", place), required(row, "tests", dict, place)
    found: list[Found] = []
    for number, (test, told) in enumerate(tests.items()):
        arguments, person = texts_of(told, "input_args", f"{place}, tests[{test}]"), people[number % len(people)]
        needle = filled(required(row, "needle", str, place), person, arguments)
        for kind, question in required(row, "questions", dict, place).items():
            document = OwnDocument(needle, "", True, ((0, len(needle)),))
            name = f"{name_of(row)}-{test}-{kind}"
            found.append(Question(filled(question, person, arguments), (person,), (document,), name))
    return found


def filled(text: str, person: str, arguments: Sequence[str]) -> str:
    for number, argument in enumerate(arguments, 1):
        text = text.replace(f"{{{number}}}", argument)
    return text.replace("{CHAR}", person)


MRCR = Reader(("prompt", "answer", "random_string_to_prepend"), mrcr)
RULER = Reader(("input", "outputs"), ruler)
LONGBENCH = Reader(("input", "context", "answers"), longbench)
BABILONG = Reader(("input", "question", "target"), babilong)
NOLIMA = Reader(("needle", "questions", "tests", "character_set"), nolima)
