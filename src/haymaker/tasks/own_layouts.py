"""What rows of one's own look like: a function for each layout, told apart by its keys (`READERS` in choices.py).

A reader gives a row as a Question or a Talk, several where the row asks several, or why it is of no use; a row that is
not what its layout says raises DataError, which names file and line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from haymaker.choices import METRICS, READERS
from haymaker.errors import ConfigError, DataError, LacksColumn, MissingKey
from haymaker.file_reading import required, texts_in, texts_of
from haymaker.metrics.best_score import to_say
from haymaker.records import Role, is_range
from haymaker.tasks.own_columns import ANSWERS, LISTS
from haymaker.tasks.own_rows import Found, OwnDocument, Question, Talk
from haymaker.tasks.own_spans import Range, Turn, place_of, ranges_in, spelled_as

Row = Mapping[str, Any]
ROLES: dict[str, Role] = {
    **{name: "user" for name in ("user", "human", "prompter")},
    **{name: "assistant" for name in ("assistant", "gpt", "model", "chatgpt", "bot")},
    **{name: "system" for name in ("system", "developer")},
}
NO_ANSWER_TURN = "the last turn is not the assistant's"
NO_TURN = "there is no turn before the answer"
EMPTY_ANSWER = "the answer is empty"
SHAREGPT_KEYS = ("from", "value")
TOOL_ROLES = ("tool", "function", "ipython", "tool_call", "tool_response", "function_call", "observation")
TOOLS = "a turn is a tool's, or calls one"
NO_CHOICES = "the answer is the letter of a choice, and no columns choice_A to choice_D say of which"
NO_VALUE = "a column that its layout needs is empty"
EVERYDAY = ("documents", "context", "messages", "prompt-completion")  # layouts to name where none is near
ALL = "docs/your-data.md lists all layouts"


@dataclass(frozen=True)
class Reader:
    """A layout: the keys that tell it, and what reads a row. `fits` tells layouts of the same keys apart; `metrics`
    judge its rows, the headline first, where they are not those of qa."""

    keys: tuple[str, ...]
    read: Callable[[Row, str], Found | Sequence[Found]]
    fits: Callable[[Row], bool] = lambda row: True
    metrics: tuple[str, ...] = ()

    def __contains__(self, row: Row) -> bool:
        return all(row.get(key) is not None for key in self.keys) and self.fits(row)

    def half(self, row: Row) -> bool:
        """Whether all of its keys are columns of the row, and some of them are empty in it."""
        return all(key in row for key in self.keys) and any(row[key] is None for key in self.keys)


def read_row(row: Row, place: str, name: str | None = None) -> Found | Sequence[Found]:
    """A row by the layout of that name, or by the first whose keys it has. DataError where there is none."""
    row = {key: LISTS[key](value) if key in LISTS else value for key, value in row.items()}
    readers = {one: READERS[one] for one in ([name] if name else READERS)}
    for reader in readers.values():
        if row in reader:
            found = read_by(reader, row, place)
            if isinstance(found, list):
                return [judged(one, row, reader, place) for one in found]
            return judged(found, row, reader, place)  # type: ignore[arg-type]
    if any(reader.half(row) for reader in readers.values()):
        return NO_VALUE
    if name is not None:
        return read_by(readers[name], row, place)  # it says what is missing
    raise no_layout(row, readers, place)


def read_by(reader: Reader, row: Row, place: str) -> Found | Sequence[Found]:
    """A row by a layout. Raises LacksColumn where a column of the row's own is missing."""
    try:
        return reader.read(row, place)
    except MissingKey as error:
        if not isinstance(error.row, Mapping) or error.row.keys() != row.keys():
            raise  # it is a part of the row that lacks something
        keys = ANSWERS if error.key in ANSWERS else (error.key,)
        raise LacksColumn(str(error), *((key,) for key in keys)) from None


def judged(found: Found, row: Row, reader: Reader, place: str) -> Found:
    """The row with what judges it: what its own column `metrics` names, as exports write it, else its layout."""
    if isinstance(found, str):
        return found
    told = metrics_told(row, place)
    if told:
        golds = texts_of(row, "golds", place) if row.get("golds") is not None else ()
        first, *more = found.answers or ("",)
        said_so = isinstance(found, Talk) and bool(more) and first == to_say(told[0], golds or more)
        answers = tuple(more) if said_so else found.answers  # the last turn says what is taught of these: all, say
        return replace(found, answers=answers, metrics=tuple(told), golds=tuple(golds))
    return found if found.metrics else replace(found, metrics=reader.metrics)


def metrics_told(row: Row, place: str) -> list[str]:
    """The metrics that a row names; none where its column `metrics` holds no names. DataError for one there is not."""
    told = row.get("metrics")
    names = [told] if isinstance(told, str) and told.strip() else told
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []  # numbers of somebody's own
    for name in names:
        try:
            METRICS.entry(name)
        except ConfigError as error:
            raise DataError(f"{place}, metrics: {error}; a column of another meaning needs another name") from None
    return names


def present(row: Row) -> Row:
    """What of an object is there; a table has every column of every row, empty where a row has none."""
    return {key: value for key, value in row.items() if value is not None}


def no_layout(row: Row, readers: Mapping[str, Reader], place: str) -> DataError:
    """What is wrong with a row of no layout, and how its columns may be told: by the nearest one, names of another case
    taken for its own. Of every layout of which it has a key it lacks the others, and other rows may have them."""
    own = {str(key).strip().lower(): str(key) for key in row}
    lacking = {one: [key for key in reader.keys if key not in own] for one, reader in readers.items()}
    nearest = min(lacking, key=lambda one: len(lacking[one]) / len(readers[one].keys))
    keys, missing = readers[nearest].keys, lacking[nearest]
    found = f"{place}: no layout has the keys {', '.join(sorted(map(str, row))) or 'of an empty row'}"
    if len(missing) == len(keys):
        most = " or ".join(f"{' and '.join(readers[one].keys)} ({one})" for one in EVERYDAY if one in readers)
        return LacksColumn(
            f"{found}; expected {most}; say which column is which with --map question=prompt, say; {ALL}"
        )
    called = {key: own.get(key, "COLUMN") for key in keys}
    told = " ".join(f"--map {key}={column}" for key, column in called.items() if key != column)
    what = f": say which column is which with {told}" if told else ", and a value here is of another type than its are"
    groups = [tuple(key for key in reader.keys if key not in row) for reader in readers.values()]
    near = [group for group, reader in zip(groups, readers.values(), strict=True) if 0 < len(group) < len(reader.keys)]
    return LacksColumn(f"{found}; nearest is {nearest} ({' and '.join(keys)}){what}; {ALL}", *near)


# ---- a question over documents


def documents(row: Row, place: str) -> Found | Sequence[Found]:
    """question, answers, documents of title?, text, gold? and perhaps evidence; or `questions` of question, answers."""
    items = required(row, "documents", list, place)
    own = [own_document(item, f"{place}, documents[{i}]") for i, item in enumerate(items)]
    told = row.get("evidence")
    own = with_evidence(own, [] if told is None else [told] if isinstance(told, str) else told, f"{place}, evidence")
    asked = row.get("questions")
    if asked is None:
        return question_of(row, own, place)
    several = required(row, "questions", list, place)
    name = name_of(row)
    found = []
    for i, one in enumerate(several):
        where = f"{place}, questions[{i}]"
        told = isinstance(one, Mapping) and one.get("gold") is not None
        mine = [chosen(own[n], n in required(one, "gold", list, where)) for n in range(len(own))] if told else own
        found.append(question_of(one, mine, where, name and f"{name}-{i}"))
    return found


def with_evidence(own: list[OwnDocument], told: Any, place: str) -> list[OwnDocument]:
    """The documents with evidence of the whole row in its place: texts, each of which one document has once."""
    found = list(own)
    for text in told if isinstance(told, list) else [told]:
        if not isinstance(text, str):
            raise DataError(f"{place}: expected texts of documents, found {text!r:.60}; give ranges in their document")
        holding = [i for i, one in enumerate(own) if spelled_as(text, one.text) in one.text]
        if len(holding) != 1:
            raise DataError(f"{place}: {text[:60]!r} stands in {len(holding)} documents; give it in the one it is from")
        one = found[holding[0]]
        ranges = ranges_in([*one.evidence, place_of(text, one.text, place)], place)
        found[holding[0]] = replace(one, gold=True, evidence=tuple(ranges))
    return found


def chosen(document: OwnDocument, gold: bool) -> OwnDocument:
    """A document of a row of several questions, as one of them sees it."""
    return OwnDocument(document.text, document.title, gold, document.evidence if gold else ())


def question_of(row: Row, own: Sequence[OwnDocument], place: str, name: str = "") -> Question:
    return Question(
        required(row, "question", str, place).strip(), answers_of(row, place), tuple(own), name or name_of(row)
    )


def own_document(item: Any, place: str) -> OwnDocument:
    """A document of title?, text, gold?, and evidence in it; a text alone is one without a title."""
    if isinstance(item, str):
        return OwnDocument(item)
    if isinstance(item, Mapping) and "text" not in item:
        found = ", ".join(map(str, item)) or "nothing"
        raise DataError(f"{place}: no 'text' here; found {found}; say which it is with --map documents.text=COLUMN")
    text, title = required(item, "text", str, place), item.get("title") or ""
    if not isinstance(title, str):
        raise DataError(f"{place}: 'title' should be str, found {type(title).__name__}")
    gold = item.get("gold")
    if not isinstance(gold, bool | int | None):
        raise DataError(f"{place}: 'gold' should be true or false, found {gold!r:.40}")
    return OwnDocument(text, title, bool(gold), evidence_of(item, text, place))


def context(row: Row, place: str) -> Found:
    """question, answers, context and perhaps evidence in it: one text that is all there is to read."""
    if asks_for_a_choice(row):
        return NO_CHOICES
    text = required(row, "context", str, place)
    ranges = evidence_of(row, text, place)
    question = required(row, "question", str, place).strip()
    return Question(question, answers_of(row, place), (OwnDocument(text, "", True, ranges),), name_of(row), whole=True)


def asks_for_a_choice(row: Row) -> bool:
    """Whether the answer is a letter of choices in columns that no layout reads, or that are missing (LongBench v2)."""
    columns = {str(key).lower() for key in row}
    told = any(column.startswith(("choice", "option")) for column in columns) or {"sub_domain", "difficulty"} <= columns
    answer = row.get("answer")
    return told and isinstance(answer, str) and answer.strip().strip("()") in tuple("ABCD")


def evidence_of(row: Row, text: str, place: str) -> tuple[Range, ...]:
    """Ranges of `evidence`: texts that stand exactly once, or [start, stop] in characters."""
    told = row.get("evidence")
    if told is None or (isinstance(told, list) and not told):
        return ()
    places = told if isinstance(told, list) and not is_range(told) else [told]
    return tuple(ranges_in([place_of(one, text, f"{place}, evidence") for one in places], f"{place}, evidence"))


def answers_of(row: Row, place: str) -> tuple[str, ...]:
    """The texts of `answers`, or the one of `answer`, and `answer_aliases`; none where it is there and empty."""
    key = "answers" if row.get("answers") is not None else "answer"
    if row.get(key) is None and ("answers" in row or "answer" in row):
        return ()
    told = row.get(key)
    if key in row and not isinstance(told, list | str):
        raise DataError(f"{place}: {key!r} should be a list of texts, or one text, found {told!r:.60}")
    aliases = texts_in(row, "answer_aliases", place) if row.get("answer_aliases") else []
    found = (answer.strip() for answer in (*texts_in(row, key, place), *aliases))
    return tuple(dict.fromkeys(answer for answer in found if answer))


def name_of(row: Row) -> str:
    """A row's own id, if it has one."""
    found = next((row[key] for key in ("id", "_id") if row.get(key) not in (None, "")), "")
    return str(found)


# ---- conversations


def messages(row: Row, place: str) -> Found:
    """messages of role and content, the last of them the answer; perhaps evidence in the others."""
    said, keys = required(row, "messages", list, place), ("role", "content")
    return TOOLS if has_tools(said, keys[0]) else talk(turns_in(said, keys, place), row, place)


def sharegpt(row: Row, place: str) -> Found:
    """conversations of from and value, or of role and content."""
    items = required(row, "conversations", list, place)
    keys = ("role", "content") if all(isinstance(item, Mapping) and "role" in item for item in items) else SHAREGPT_KEYS
    if has_tools(items, keys[0]):
        return TOOLS
    return talk(turns_in(items, keys, place), row, place)


def has_tools(items: Sequence[Any], role: str) -> bool:
    """Whether a conversation has turns that are no text between people and a model."""
    turns = [item for item in items if isinstance(item, Mapping)]
    return any(
        item.get("tool_calls") or item.get("function_call") or str(item.get(role)).lower() in TOOL_ROLES
        for item in turns
    )


def alpaca(row: Row, place: str) -> Found:
    """instruction, input? (Dolly: context), output; perhaps a history of [said, answered]."""
    said, output = required(row, "instruction", str, place), required(row, "output", str, place)
    more, turns = row.get("input") or row.get("context"), list[Turn]()
    for i, pair in enumerate(required({"history": [], **present(row)}, "history", list, place)):
        if not (isinstance(pair, list) and len(pair) == 2):
            raise DataError(f"{place}, history[{i}]: expected [said, answered], found {pair!r:.60}")
        turns += [Turn("user", text_of(pair[0], place)), Turn("assistant", text_of(pair[1], place))]
    asked = f"{said}\n\n{more}" if isinstance(more, str) and more else said
    return talk([*turns, Turn("user", asked), Turn("assistant", output)], row, place)


def prompt_completion(row: Row, place: str) -> Found:
    """prompt and completion: two texts, or two lists of messages."""
    halves = []
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        said, keys = required(row, key, (str, list), place), ("role", "content")
        if has_tools(said if isinstance(said, list) else (), keys[0]):
            return TOOLS
        halves += [Turn(role, said)] if isinstance(said, str) else turns_in(said, keys, place)  # type: ignore[arg-type]
    return talk(halves, row, place)


def turns_in(items: Sequence[Any], keys: tuple[str, str], place: str) -> list[Turn]:
    """Turns from objects of these two keys."""
    found = []
    for i, item in enumerate(items):
        where = f"{place}, turn {i}" if len(items) > 1 else place
        role, text = required(item, keys[0], str, where), item.get(keys[1])
        if role.strip().lower() not in ROLES:
            raise DataError(f"{where}: expected a turn of {', '.join(ROLES)}, found {role!r}")
        found.append(Turn(ROLES[role.strip().lower()], text_of(text, where)))
    return found


def text_of(content: Any, place: str) -> str:
    """A turn's text; of a list of parts, those of text."""
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        return "".join(required(part, "text", str, place) for part in content)
    if not isinstance(content, str):
        raise DataError(f"{place}: expected a text, found {type(content).__name__}")
    return content


def talk(turns: Sequence[Turn], row: Row, place: str) -> Found:
    """The conversation up to its last turn, which is the answer; a text in the row's `system` stands before it."""
    system = row.get("system")
    if isinstance(system, str) and system and turns and turns[0].role != "system":
        turns = [Turn("system", system), *turns]
    if not turns or turns[-1].role != "assistant":
        return NO_ANSWER_TURN
    *before, last = turns
    if not before:
        return NO_TURN
    if not last.text.strip():
        return EMPTY_ANSWER
    more = answers_of(row, place) if row.get("answers") is not None else ()
    answers = (last.text.strip(), *(answer for answer in more if answer != last.text.strip()))
    evidence = evidence_of(row, "".join(turn.text for turn in before), place)
    asked = row.get("question")
    return Talk(tuple(before), answers, evidence, asked if isinstance(asked, str) else "", name_of(row))


DOCUMENTS = Reader(("question", "documents"), documents)
QUESTIONS = Reader(("questions", "documents"), documents)
CONTEXT = Reader(("question", "context"), context, lambda row: isinstance(row["context"], str))
MESSAGES = Reader(("messages",), messages)
SHAREGPT = Reader(("conversations",), sharegpt)
ALPACA = Reader(("instruction", "output"), alpaca)
PROMPT_COMPLETION = Reader(("prompt", "completion"), prompt_completion)
