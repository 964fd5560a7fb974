"""Layouts of the field's benchmarks, read from the user's files: their rows as questions of one's own."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from haymaker.errors import DataError
from haymaker.file_reading import required, texts_in, texts_of
from haymaker.tasks.musique import METRICS as MUSIQUE_METRICS
from haymaker.tasks.own_layouts import Reader, Row, answers_of, name_of, present
from haymaker.tasks.own_rows import Found, OwnDocument, Question, sentence_around
from haymaker.tasks.own_spans import Range, place_of
from haymaker.tasks.row_files import cell

UNANSWERABLE = "the question is marked unanswerable"
NO_SUCH_SENTENCE = "a supporting fact names a sentence that there is not"
MARKS = ("isgold", "is_gold", "gold")  # of the passage that the question was written for
HOLDS = ("hasanswer", "has_answer")  # of those that hold an answer, where no other is marked
HELMET = ("best_subspan_em_uncut", "squad_f1", "squad_em")  # its metrics of such rows, that of its tables first
NESTED = ("context", "supporting_facts", "evidences")
NO_SUCH_DOCUMENT = "a supporting fact names a document that there is not"


# ---- HotpotQA, 2WikiMultihopQA


def hotpotqa(row: Row, place: str) -> Found:
    """question, answer, context of [title, sentences], supporting_facts of [title, sentence]; columns of the hub too.

    Evidence are the supporting sentences. 2WikiMultihopQA's `evidences` (subject, relation, object) are the hops, where
    there are as many as gold documents.
    """
    row = {key: unfolded(value) if key in NESTED else value for key, value in row.items()}
    titles, sentences = paragraphs_in(row, place)
    facts = supporting(row, place)
    numbers = {title: i for i, title in reversed(list(enumerate(titles)))}
    if any(title not in numbers for title, _ in facts):
        return NO_SUCH_DOCUMENT
    if any(not 0 <= at < len(sentences[numbers[title]]) for title, at in facts):
        return NO_SUCH_SENTENCE
    chosen = {number: sorted({at for title, at in facts if numbers[title] == number}) for number in range(len(titles))}
    own = [
        OwnDocument("".join(said), title, bool(chosen[i]), sentence_ranges(said, chosen[i]))
        for i, (title, said) in enumerate(zip(titles, sentences, strict=True))
    ]
    question = required(row, "question", str, place).strip()
    steps = hops_of(triples_in(row, place), own)
    return Question(question, answers_of(row, place), tuple(own), name_of(row), steps=steps)


def unfolded(value: Any) -> Any:
    """Lists that a table keeps as JSON in a text, or as objects of named parts, as the hub's copies do."""
    found = cell(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        return found
    return [[*item.values()] if isinstance(item, Mapping) else item for item in found]


def paragraphs_in(row: Row, place: str) -> tuple[list[str], list[list[str]]]:
    """Titles, and the sentences under each. Files have [title, sentences], the hub two columns."""
    key = "sentences" if isinstance(row["context"], Mapping) and "sentences" in row["context"] else "content"
    found = pairs_in(row, "context", ("title", key), place)
    for i, (title, said) in enumerate(found):
        if not (isinstance(title, str) and isinstance(said, list) and all(isinstance(one, str) for one in said)):
            raise DataError(f"{place}, context[{i}]: expected [title, sentences], found {[title, said]!r:.60}")
    return [title for title, _ in found], [said for _, said in found]


def pairs_in(row: Row, key: str, columns: tuple[str, str], place: str) -> list[tuple[Any, Any]]:
    """A list of pairs, which the hub keeps as two columns of one length."""
    value, where = row[key], f"{place}, {key}"
    if isinstance(value, Mapping):
        firsts, seconds = (required(value, column, list, where) for column in columns)
        if len(firsts) != len(seconds):
            raise DataError(f"{where}: {len(firsts)} of {columns[0]} and {len(seconds)} of {columns[1]}")
        return list(zip(firsts, seconds, strict=True))
    for i, item in enumerate(required(row, key, list, place)):
        if not (isinstance(item, list | tuple) and len(item) == 2):
            raise DataError(f"{where}[{i}]: expected [{columns[0]}, {columns[1]}], found {item!r:.60}")
    return [(first, second) for first, second in value]


def supporting(row: Row, place: str) -> list[tuple[str, int]]:
    """(title, number of the sentence) of every supporting fact."""
    found = pairs_in(row, "supporting_facts", ("title", "sent_id"), place)
    for i, (title, at) in enumerate(found):
        if not isinstance(title, str) or type(at) is not int:
            raise DataError(f"{place}, supporting_facts[{i}]: expected a title and a number, found {[title, at]!r:.60}")
    return found


def sentence_ranges(sentences: Sequence[str], chosen: Sequence[int]) -> tuple[Range, ...]:
    """Characters of these sentences in the text of all, blanks around them left out; neighbours are one range."""
    starts = list(accumulate(map(len, sentences), initial=0))
    found: list[Range] = []
    for i in chosen:
        said = sentences[i]
        if not said.strip():
            continue
        start, stop = starts[i] + len(said) - len(said.lstrip()), starts[i] + len(said.rstrip())
        if found and i - 1 in chosen:
            start, _ = found.pop()
        found.append((start, stop))
    return tuple(found)


def triples_in(row: Row, place: str) -> list[Sequence[str]]:
    """2WikiMultihopQA's (subject, relation, object); others, and rows of HotpotQA, have none."""
    found = required({"evidences": [], **present(row)}, "evidences", list, place)
    triples: list[Sequence[str]] = [triple for triple in found if isinstance(triple, list | tuple) and len(triple) == 3]
    for triple in triples:
        if not all(isinstance(part, str) for part in triple):
            raise DataError(f"{place}, evidences: expected subject, relation and object, found {triple!r:.60}")
    return triples


def hops_of(triples: Sequence[Sequence[str]], own: Sequence[OwnDocument]) -> tuple[tuple[str, str, int], ...]:
    """(question, answer, document) of 2WikiMultihopQA's triples: the document is the subject's, or the one that holds
    the object. Nothing where triples and gold documents do not go one to one."""
    gold = [i for i, document in enumerate(own) if document.gold]
    if len(triples) != len(gold):
        return ()
    found: list[tuple[str, str, int]] = []
    for hop, (subject, relation, said) in enumerate(triples):
        free = [i for i in gold if i not in {place for *_, place in found}]
        named = (
            [i for i in free if own[i].title.startswith(subject)] or [i for i in free if said in own[i].text] or free
        )
        asked = next((f"#{n + 1}" for n in range(hop) if triples[n][2] == subject), subject)
        found.append((f"{asked} >> {relation}", said, named[0]))
    return tuple(found)


# ---- SQuAD


def squad(row: Row, place: str) -> Found:
    """context, question, answers of text and answer_start, as on the hub; evidence is the first one's sentence."""
    text, told = required(row, "context", str, place), required(row, "answers", Mapping, place)
    answers, starts = texts_of(told, "text", place), required(told, "answer_start", list, place)
    if not answers:
        return UNANSWERABLE
    where = f"{place}, answer_start"
    first = starts[0] if starts else None
    start, stop = place_of((first, first + len(answers[0]) if isinstance(first, int) else None), text, where)
    if text[start:stop] != answers[0]:
        raise DataError(f"{where}: expected {answers[0]!r:.60} at {start}, found {text[start:stop]!r:.60}")
    document = OwnDocument(text, "", True, (sentence_around(text, (start, stop)),))
    question = required(row, "question", str, place).strip()
    return Question(question, tuple(dict.fromkeys(answers)), (document,), name_of(row), whole=True)


def squad_file(row: Row, place: str) -> list[Found]:
    """An article of SQuAD's own files: paragraphs of context and qas, each of question, id, answers."""
    found: list[Found] = []
    for i, paragraph in enumerate(required(row, "paragraphs", list, place)):
        at = f"{place}, paragraphs[{i}]"
        text = required(paragraph, "context", str, at)
        for n, asked in enumerate(required(paragraph, "qas", list, at)):
            where = f"{at}, qas[{n}]"
            golds = required(asked, "answers", list, where)
            columns = {
                key: [required(one, key, (str, int), where) for one in golds] for key in ("text", "answer_start")
            }
            found.append(squad({**asked, "context": text, "answers": columns}, where))
    return found


# ---- the official layouts of tasks that Haymaker has


def mdqa(row: Row, place: str) -> Found:
    """question, answers, ctxs of title, text and isgold (lost-in-the-middle; HELMET's RAG rows, where gold is told)."""
    items = required(row, "ctxs", list, place)
    texts = [required(item, "text", str, f"{place}, ctxs[{i}]") for i, item in enumerate(items)]
    marks = MARKS if any(item.get(mark) is not None for item in items for mark in MARKS) else HOLDS
    own = [
        OwnDocument(text, title_of(item, place), is_gold(item, marks)) for text, item in zip(texts, items, strict=True)
    ]
    question = required(row, "question", str, place).strip()
    metrics = HELMET if marks is HOLDS else ()
    return Question(question, answers_of(row, place), tuple(own), name_of(row), metrics=metrics)


def title_of(item: Row, place: str) -> str:
    """A document's title, which tables leave empty."""
    return required({"title": "", **present(item)}, "title", str, place)


def is_gold(item: Mapping[str, Any], marks: Sequence[str] = MARKS) -> bool:
    return bool(next((item[key] for key in marks if item.get(key) is not None), False))


def musique(row: Row, place: str) -> Found:
    """MuSiQue's rows: the paragraphs that support are the evidence, its decomposition the hops."""
    if not row.get("answerable", True):
        return UNANSWERABLE
    items = required(row, "paragraphs", list, place)
    own = [musique_paragraph(item, f"{place}, paragraphs[{i}]") for i, item in enumerate(items)]
    aliases = texts_in({"answer_aliases": row.get("answer_aliases") or []}, "answer_aliases", place)
    answers = (required(row, "answer", str, place), *aliases)
    told = required({"question_decomposition": [], **present(row)}, "question_decomposition", list, place)
    steps = tuple(musique_step(step, len(own), f"{place}, question_decomposition[{i}]") for i, step in enumerate(told))
    question = required(row, "question", str, place).strip()
    return Question(question, answers, tuple(own), name_of(row), steps=steps)


def musique_step(step: Any, documents: int, place: str) -> tuple[str, str, int]:
    question, answer = (required(step, key, str, place) for key in ("question", "answer"))
    number = required(step, "paragraph_support_idx", int, place)
    if not 0 <= number < documents:
        raise DataError(f"{place}: paragraph {number} is none of the row's {documents}")
    return question, answer, number


def musique_paragraph(item: Any, place: str) -> OwnDocument:
    text = required(item, "paragraph_text", str, place)
    gold = bool(required(item, "is_supporting", (bool, int), place))
    return OwnDocument(text, title_of(item, place), gold, ((0, len(text)),) if gold else ())


HOTPOTQA = Reader(("question", "context", "supporting_facts"), hotpotqa)
SQUAD = Reader(("question", "context", "answers"), squad, lambda row: isinstance(row["answers"], Mapping))
SQUAD_FILE = Reader(("title", "paragraphs"), squad_file, lambda row: "question" not in row)
MDQA = Reader(("question", "ctxs"), mdqa)
MUSIQUE = Reader(("question", "paragraphs"), musique, metrics=MUSIQUE_METRICS)
