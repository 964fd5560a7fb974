"""Layouts of long-context benchmarks, read from the user's files: MRCR, RULER, LongBench (1, 2), BABILong, NoLiMa.

Where a benchmark does not say what an answer rests on, evidence is the sentence in which it stands exactly once; a row
in which it does not is kept without evidence, for these rows are there to be answered.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from haymaker.errors import DataError
from haymaker.file_reading import required, texts_in
from haymaker.metrics.long_bench import LONGBENCH_F1
from haymaker.notation import parse_json
from haymaker.realism.answers import occurrences
from haymaker.tasks.own_layouts import Reader, Row, evidence_of, name_of, present, turns_in
from haymaker.tasks.own_rows import NO_QUESTION, Found, OwnDocument, Question, Talk, sentence_around
from haymaker.tasks.own_spans import Range, Turn, ranges_in

EMPTY = "the answer is empty"
NO_CHOICE = "one of its four choices is empty"
L_EVAL = "it asks several instructions of one input (L-Eval); give each a row of its own, as question and context"
LETTERS = "ABCD"
PLACEHOLDER = re.compile(r"\{\d+\}")
RULER_QUESTION = "Answer the question based on the given documents."  # of qa_1 and qa_2, whose outputs are alternatives
ASSIGNMENT = re.compile(r"\bVAR (\w+) = (?:VAR )?\w+")
PASSAGE_RETRIEVAL = (
    "Here are 30 paragraphs from Wikipedia, along with an abstract. Please determine which paragraph the abstract is "
    "from.\n\n{context}\n\nThe following is an abstract.\n\n{question}\n\nPlease enter the number of the paragraph "
    'that the abstract is from. The answer format must be like "Paragraph 1", "Paragraph 2", etc.\n\nThe answer is: '
)


def answered(
    said: str, answers: Sequence[str], row: Row, place: str, *, question: str = "", metrics: tuple[str, ...] = ()
) -> Found:
    """A prompt of one turn with its answers; evidence is what the row says, else the sentence that alone says each."""
    kept = tuple(answer.strip() for answer in answers if answer.strip())
    if not kept:
        return EMPTY
    evidence = evidence_of(row, said, place) if "evidence" in row else sentences_of(said, kept)
    return Talk((Turn("user", said),), kept, evidence, question, name_of(row), metrics)


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
    """input, outputs, and perhaps the answer_prefix that stands behind the input.

    Outputs are all to be named, and are evidence together or not at all; of questions (qa_1, qa_2) any one is right.
    """
    if row.get("instructions") is not None:
        return L_EVAL
    prefix, asked = row.get("answer_prefix") or "", row.get("question")
    said, question = required(row, "input", str, place) + str(prefix), asked if isinstance(asked, str) else ""
    golds = texts_in(row, "outputs", place)
    if RULER_QUESTION in said:
        return answered(said, golds, row, place, question=question, metrics=("ruler_part",))
    if row.get("evidence") is None:
        row = {**row, "evidence": [list(range_) for range_ in chain_in(said, golds) or once_each(said, golds)]}
    return answered(said, golds, row, place, question=question, metrics=("ruler_all",))


def chain_in(text: str, names: Sequence[str]) -> list[Range]:
    """The assignments of variable tracking's variables, where the text assigns each of them once."""
    found = [match.span() for match in ASSIGNMENT.finditer(text) if match[1] in names]
    return found if len(found) == len(set(names)) else []


def once_each(text: str, answers: Sequence[str]) -> tuple[Range, ...]:
    """The sentences that say the answers, where each stands exactly once; else (common words) there is none."""
    said = [answer.strip() for answer in answers if answer.strip()]
    return sentences_of(text, said) if all(len(occurrences(text, one)) == 1 for one in said) else ()


def longbench(row: Row, place: str) -> Found:
    """LongBench's rows: input (the question), context, answers; judged as its dataset is, where Haymaker can.

    What ends in a colon asks in words of its own (trec, triviaqa), and stands behind the context as it is.
    """
    question, context = (required(row, key, str, place) for key in ("input", "context"))
    if not question.strip():
        return NO_QUESTION  # summaries and counts, which LongBench asks for in prompts of its own
    dataset = str(row.get("dataset") or "").removesuffix("_e")
    asked = "{context}\n\nQuestion: {question}\nAnswer:"
    if dataset == "passage_retrieval_en":
        asked = PASSAGE_RETRIEVAL
    elif question.rstrip().endswith(":"):
        asked = "{context}\n\n{question}"
    said = asked.replace("{question}", question).replace("{context}", context, 1)
    return answered(said, texts_in(row, "answers", place), row, place, question=question, metrics=judge_of(dataset))


def judge_of(dataset: str) -> tuple[str, ...]:
    """The metrics of a dataset of LongBench; qa's where Haymaker has not its own (ROUGE, classes, code, Chinese)."""
    if dataset == "passage_retrieval_en":
        return ("longbench_retrieval",)
    return ("longbench_f1", "squad_em", "best_subspan_em") if dataset in ("", *LONGBENCH_F1) else ()


def longbench_v2(row: Row, place: str) -> Found:
    """LongBench v2's rows: question, context, choice_A to choice_D, answer (a letter), in its own prompt."""
    question, context = (required(row, key, str, place).strip() for key in ("question", "context"))
    if any(row.get(f"choice_{letter}") in (None, "") for letter in LETTERS):
        return NO_CHOICE
    choices = {letter: required(row, f"choice_{letter}", str, place).strip() for letter in LETTERS}
    answer = required(row, "answer", str, place).strip().strip("()").upper()
    if not question or not answer:
        return EMPTY if question else NO_QUESTION
    if answer not in tuple(LETTERS):
        raise DataError(f"{place}: 'answer' should be the letter of a choice, found {row['answer']!r:.40}")
    listed = "\n".join(f"({letter}) {said}" for letter, said in choices.items())
    said = (
        f"Please read the following text and answer the question below.\n\n<text>\n{context}\n</text>\n\n"
        f"What is the correct answer to this question: {question}\nChoices:\n{listed}\n\n"
        'Format your response as follows: "The correct answer is (insert answer here)".'
    )
    told = {"evidence": [], **row}  # an answer that is a letter stands nowhere
    return answered(said, [f"The correct answer is ({answer})"], told, place, question=question)


def babilong(row: Row, place: str) -> Found:
    """input (the text), question, target."""
    text, question = (required(row, key, str, place) for key in ("input", "question"))
    return answered(
        f"{text}\n\nQuestion: {question}\nAnswer:", texts_in(row, "target", place), row, place, question=question
    )


def mrcr(row: Row, place: str) -> Found:
    """OpenAI-MRCR: prompt (messages, as JSON text or a list), answer, the random string that it starts with.

    Evidence is the assistant's turn that shall be given again: of those that say it the one that answers the message at
    `desired_msg_index`, which is the user's.
    """
    prompt, answer = required(row, "prompt", (str, list), place), required(row, "answer", str, place)
    turns = turns_in(messages_in(prompt, place), ("role", "content"), place)
    start = required(row, "random_string_to_prepend", str, place)
    if not answer.startswith(start):
        raise DataError(f"{place}: 'answer' should begin with {start!r:.40}, found {answer!r:.60}")
    wanted = answer.removeprefix(start)
    starts = list(accumulate((len(turn.text) for turn in turns), initial=0))
    saying = [i for i, turn in enumerate(turns) if turn.text == wanted and turn.text]
    index = row.get("desired_msg_index")  # a fraction where a table had gaps; a maker may mean the answer itself
    asked = [index, index + 1] if isinstance(index, int | float) else []
    chosen = [i for i in saying if i in asked] or saying
    evidence = tuple((starts[i], starts[i + 1]) for i in chosen[:1])
    if not answer.strip() or not turns:
        return EMPTY
    return Talk(tuple(turns), (answer,), evidence, turns[-1].text, name_of(row), golds=(answer, start))


def messages_in(prompt: str | list[Any], place: str) -> list[Any]:
    if isinstance(prompt, list):
        return prompt
    try:
        found = parse_json(prompt)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: 'prompt' should be messages in JSON, found otherwise ({error})") from None
    if not isinstance(found, list):
        raise DataError(f"{place}: 'prompt' should be a list of messages in JSON, found {type(found).__name__}")
    return found


def nolima(row: Row, place: str) -> list[Found]:
    """NoLiMa's needle sets: a question over its needle for each test and each kind of question.

    The haystack is the recipe's pool; a distractor of the kind stands there too. {1}, {2}, ... are a test's arguments.
    {CHAR} in the needle is one of the character set in turn, and the answer; else the test's gold_answers are.
    """
    people = texts_in({"character_set": [], **present(row)}, "character_set", place)
    questions = present(required(row, "questions", dict, place))
    found: list[Found] = []
    for number, (test, told) in enumerate(present(required(row, "tests", dict, place)).items()):
        where = f"{place}, tests[{test}]"
        answers = golds_of(row, told, people[number % len(people)] if people else "", where)
        for kind in questions:
            person = next(iter(answers), "")
            asked = nolima_question(row, kind, person, texts_in(told, "input_args", where), where)
            name = "_".join(filter(None, (name_of(row), test, kind)))  # as their own tests are called
            found.append(Question(asked[0], answers, asked[1], name))
    return found


def golds_of(row: Row, told: Row, person: str, where: str) -> tuple[str, ...]:
    """What counts as right in a test."""
    if "{CHAR}" in required(row, "needle", str, where):
        if not person:
            raise DataError(f"{where}: the needle asks for a {{CHAR}}, and character_set holds none")
        return (person,)
    return tuple(texts_in(told, "gold_answers", where))


def nolima_question(
    row: Row, kind: str, person: str, arguments: Sequence[str], place: str
) -> tuple[str, tuple[OwnDocument, ...]]:
    """What is asked, and the needle with its distractor, if there is one."""
    texts = required(row["questions"], kind, str, f"{place}, questions"), row["needle"]
    question, needle = (filled(text, person, arguments, place) for text in texts)
    own = [OwnDocument(needle, "", True, ((0, len(needle)),))]
    other = required({"distractors": {}, **present(row)}, "distractors", dict, place).get(kind)
    if isinstance(other, str) and other:
        own.append(OwnDocument(filled(other, person, arguments, place)))
    return question, tuple(own)


def filled(text: str, person: str, arguments: Sequence[str], place: str) -> str:
    """A text with a test's arguments. Raises DataError for one that it asks for and the test has not."""
    for number, argument in enumerate(arguments, 1):
        text = text.replace(f"{{{number}}}", argument)
    if lacking := PLACEHOLDER.search(text):
        raise DataError(f"{place}: {text!r:.60} asks for {lacking[0]}, found {len(arguments)} input_args")
    return text.replace("{CHAR}", person)


MRCR = Reader(("prompt", "answer", "random_string_to_prepend"), mrcr, metrics=("mrcr",))
RULER = Reader(("input", "outputs"), ruler)
LONGBENCH = Reader(("input", "context", "answers"), longbench)
LONGBENCH_V2 = Reader(("question", "context", "choice_A", "answer"), longbench_v2, metrics=("longbench_choice",))
BABILONG = Reader(("input", "question", "target"), babilong, metrics=("ruler_part",))
NOLIMA = Reader(("needle", "questions", "tests"), nolima, metrics=("ruler_part",))
