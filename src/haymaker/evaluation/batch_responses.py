"""Answers that a server wrote (OpenAI's batch format), read, counted and judged as if they were written here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from haymaker.console import named
from haymaker.errors import DataError
from haymaker.evaluation.batch_requests import ServedModel, refuse_twins
from haymaker.evaluation.exam import Exam
from haymaker.evaluation.predictions import MISSING, Evaluation
from haymaker.evaluation.row_names import RowNames
from haymaker.file_reading import read_jsonl, required
from haymaker.models.answer_text import opens_thought, read_answer
from haymaker.models.generation import NEWEST, Generation
from haymaker.records import Prediction

ENDED = ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "")  # what servers call an answer's own end
CUT = ("length", "max_tokens")


@dataclass(frozen=True)
class Response:
    """What a server wrote for one row."""

    text: str
    cut: bool  # it reached max_tokens
    tokens: int | None
    model: str


@dataclass
class Responses:
    """The lines of a file by row: answers, reasons of those that failed, rows answered twice, ids of no row."""

    found: dict[str, Response] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    doubled: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    by_own_ids: bool = False  # answers are to the ids that rows have in their own file

    def add(self, name: str, told: Response | str, names: RowNames) -> None:
        """An answer to the row of that name, or why there is none: the first answer counts."""
        row = names.id_of(name)
        self.by_own_ids |= row is not None and row != name
        if row is None:
            self.strangers.add(name)
        elif isinstance(told, str):
            self.failed.setdefault(row, told)
        elif row in self.found:
            self.doubled.add(row)
        else:
            self.found[row] = told

    def evaluation(self, names: RowNames, judged: Sequence[Prediction]) -> "ServedEvaluation":
        """The answers, once they are judged, beside what is wrong with the others; rows are called as the file does."""
        shown = names.shown if self.by_own_ids else str
        failed = {name: why for name, why in self.failed.items() if name not in self.found}
        lost = [name for name in names.ids if name not in self.found and name not in failed]
        strangers = sorted(self.strangers)
        return ServedEvaluation(
            tuple(judged),
            missing=tuple(map(shown, lost)),
            failed={shown(name): why for name, why in failed.items()},
            doubled=tuple(shown(name) for name in names.ids if name in self.doubled),
            strangers=tuple(strangers),
            shared=tuple(filter(names.shared, strangers)),
        )


@dataclass(frozen=True, repr=False)
class ServedEvaluation(Evaluation):
    """An Evaluation of answers that were written elsewhere, and the rows that have none."""

    missing: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    doubled: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()  # of the strangers those that are ids of several rows
    counted: bool = False  # rows without an answer are among the predictions, with 0

    @property
    def whole(self) -> bool:
        """Whether every row has an answer."""
        return not self.missing and not self.failed

    def row(self) -> dict[str, Any]:
        """The summary as a flat row, with counts of rows that are missing, failed, doubled, and of ids of no row."""
        counts = {"missing": self.missing, "failed": self.failed, "doubled": self.doubled, "unknown": self.strangers}
        mean = "all rows" if self.counted or self.whole else "answered rows"
        return {**super().row(), **{name: len(ids) for name, ids in counts.items()}, "mean_of": mean}

    def notes(self) -> list[str]:
        """Also in words: rows without an answer, which no mean counts."""
        lost = len(self.missing) + len(self.failed)
        whole = len(self.predictions) + (0 if self.counted else lost)
        empty = [one.example_id for one in self.predictions if not one.text and one.finish_reason != MISSING]
        how = "they count 0" if self.counted else "no score counts them"
        reason = next(iter(self.failed.values()), "")
        told = {
            f"rows have no response; {how}": self.missing,
            f"requests failed (such as: {reason}); {how}": tuple(self.failed),
            "rows were answered more than once; the first answer counts": self.doubled,
            "answers are empty; where a model begins with a line break, export with --stop '' and cut here": empty,
        }
        said = [f"{len(ids)} of {whole} {what}: {named(ids)}" for what, ids in told.items() if ids]
        if self.strangers:
            said.append(f"{len(self.strangers)} responses are to no row of this dataset: {named(self.strangers)}")
        if self.shared:
            said.append(f"{len(self.shared)} of these are ids that several rows have: {named(self.shared)}")
        return said + super().notes()


def evaluate_responses(path: Path, exam: Exam, model: ServedModel) -> ServedEvaluation:
    """The answers of a file, judged by an exam's metrics.

    Raises DataError for a file without an answer to any row, for answers of another model or adapter, and for lines
    that are no responses.
    """
    names = RowNames.of(exam.rows)
    refuse_twins(names.ids)
    read = read_responses(path, names)
    if not read.found:
        reason = next(iter(read.failed.values()), f"{len(read.strangers)} are to other rows")
        raise DataError(
            f"{path}: no response answers a row of this dataset ({reason}); give the output of its requests"
        )
    check_model(path, read.found.values(), model)
    answers = {i: judged(exam, i, read.found[name], model) for i, name in enumerate(names.ids) if name in read.found}
    return read.evaluation(names, list(answers.values()))


def judged(exam: Exam, i: int, response: Response, model: ServedModel) -> Prediction:
    """One answer: taken out of thoughts and opening lines, ended at the stop, scored."""
    item, tokenizer = exam.encoded[i], model.tokenizer
    last = tokenizer.decode(list(item.prompt_ids[-NEWEST:]), clean_up_tokenization_spaces=False)
    found = read_answer(response.text, exam.stop, opens_thought(str(last)))
    ids = tuple(tokenizer(response.text, add_special_tokens=False)["input_ids"])
    reason = "length" if response.cut and not found.stopped else "stop"
    made = exam.judge(i, Generation(item.example_id, ids, found.text, reason, found.before))
    return made if response.tokens is None else replace(made, generated_tokens=response.tokens)


def check_model(path: Path, found: Iterable[Response], model: ServedModel) -> None:
    """DataError where answers are another model's: of an adapter the digest stands in the name."""
    if others := sorted({one.model for one in found} - {model.name, ""}):
        raise DataError(
            f"{path}: expected answers of {model.name!r}, found answers of {others[0]!r}; give the model and "
            f"adapter that were served, or say what the server calls them: --served-as {others[0]}"
        )


# ---- lines


def read_responses(path: Path, names: RowNames) -> Responses:
    """Every line of a file, by row. A request that failed and was answered later is answered."""
    read = Responses()
    for place, line in read_jsonl(path):
        read.add(required(line, "custom_id", str, place), response_of(line, place), names)
    return read


def response_of(line: Mapping[str, Any], place: str) -> Response | str:
    """What was answered, or in words why nothing was. Raises DataError for what is no response."""
    given = line.get("response")
    if given is None or line.get("error"):
        return reason_of(line.get("error"))
    required(line, "response", dict, place)
    if given.get("status_code", 200) != 200:
        return f"status {given['status_code']}"
    body = required(given, "body", dict, place) if "body" in given else given
    choices = required(body, "choices", list, place)
    if not choices:
        return "no choice in the response"
    choice = choices[0]
    text = text_of(choice, place)
    reason = choice.get("finish_reason")
    if error := body.get("error") or choice.get("error"):  # of a gateway: what text there is may be a part of one
        return reason_of(error)
    if text is None:
        return f"no text in the response (finish_reason {reason})"
    if reason is not None and reason not in ENDED and reason not in CUT:
        return f"the answer did not end by itself (finish_reason {reason})"
    return Response(text, reason in CUT, tokens_of(body), str(body.get("model") or ""))


def text_of(choice: Any, place: str) -> str | None:
    """The text of a chat's choice, or of a completion's."""
    if isinstance(choice, Mapping) and "text" in choice:
        return required(choice, "text", str, place)
    message = required(choice, "message", dict, place)
    return required(message, "content", (str, type(None)), place)


def tokens_of(body: Mapping[str, Any]) -> int | None:
    usage = body.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return count if type(count) is int and count >= 0 else None


def reason_of(error: Any) -> str:
    said = error.get("message") or error.get("code") if isinstance(error, Mapping) else error
    return " ".join(str(said or "no response and no error").split())[:80]
