"""Numbers about a dataset, its files held against their manifest, and two datasets held against each other."""

import json
import re
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import chisquare

from haymaker.console import OnProgress, each, told
from haymaker.data.checks import FOUND, SUMMED, TENTHS, Summary, wrong_in_checks
from haymaker.data.dataset import Dataset, Folder, write_manifest
from haymaker.data.schema import Row, source_of
from haymaker.errors import DataError
from haymaker.file_digests import file_digest
from haymaker.records import digest
from haymaker.tasks.own_columns import own_name

HEX = re.compile("[0-9a-f]{32,}")  # a digest, which is no id of somebody's own
UNKNOWN, IN_PROMPT, BEYOND = "rows_without_evidence", "rows_with_answer_in_prompt", "rows_beyond_length"
Marks = dict[str, str]  # column -> its value, or a digest of it
CONTENTS = ("id", "pair_id", "question", "checks")


def stats(
    dataset: Dataset | Folder, length: int | None = None, *, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Counts of a dataset: tokens, fill, documents, where gold stands, kinds of answers, and its checks; `rows_found`
    names the rows in which these found something, and those of more than `length` tokens.

    Fractions are 0 to 1. `positions` are starts of evidence per tenth of the prompt; `position_p` the chance of so
    uneven a spread if all places among the row's documents, or without these all tenths, were as likely (chi-square).
    Raises DataError for a dataset without rows.
    """
    summed, places, documents, which = Summary(), Places(), 0, dict[str, list[str]]()
    for row in each(dataset.select((*SUMMED, "id", "source", "spans")), on_progress, "rows", len(dataset)):
        summed.add(row)
        places.add(row)
        kinds = Counter(span["kind"] for span in row["spans"] or () if span is not None)
        documents += kinds["document"]
        for name in found_in(row, kinds, length):
            which.setdefault(name, []).append(called(row))
    if not summed.rows:
        raise DataError("the dataset has no rows")
    return {
        "rows": summed.rows,
        "documents_mean": documents / summed.rows,
        **summed.result(),
        "position_p": places.p(),
        UNKNOWN: len(which.get(UNKNOWN, ())),
        **({IN_PROMPT: len(which.pop(IN_PROMPT))} if IN_PROMPT in which else {}),
        **({BEYOND: len(which.get(BEYOND, ()))} if length else {}),
        "rows_found": which,
    }


class Places:
    """Where evidence stands among its row's documents by tenths, and where it would if all places were as likely.

    Of three documents each is a third of the prompt, so its starts are never spread over all tenths of it.
    """

    def __init__(self) -> None:
        self.found, self.expected = [0.0] * TENTHS, [0.0] * TENTHS

    def add(self, row: Row) -> None:
        spans = [span for span in row["spans"] or () if span is not None and span["token_start"] is not None]
        starts = sorted(span["token_start"] for span in spans if span["kind"] == "document")
        evidence = [span for span in spans if span["kind"] == "evidence"]
        for span, depth in zip(evidence, row["gold_depths"] or (), strict=False):
            before = bisect_right(starts, span["token_start"])
            count = len(starts) if before else TENTHS  # in no document: by tenths of the prompt
            place = before - 1 if before else min(TENTHS - 1, int(depth * TENTHS))
            self.found[tenth_of(place, count)] += 1
            for one in range(count):
                self.expected[tenth_of(one, count)] += 1 / count

    def p(self) -> float | None:
        """The chance of so uneven a spread; None where there is no choice of places."""
        possible = [tenth for tenth, count in enumerate(self.expected) if count > 0]
        found, expected = ([counts[tenth] for tenth in possible] for counts in (self.found, self.expected))
        return float(chisquare(found, expected).pvalue) if len(possible) > 1 else None


def tenth_of(place: int, count: int) -> int:
    """The tenth in which the middle of one of `count` equal parts lies."""
    return (2 * place + 1) * TENTHS // (2 * count)


def found_in(row: Row, kinds: Mapping[str, int], length: int | None) -> Iterator[str]:
    """Under which counts a row falls."""
    checks = json.loads(row["checks"])
    yield from (name for name, is_found in FOUND.items() if is_found(checks))
    yield from () if kinds.get("evidence") else (UNKNOWN,)
    yield from (IN_PROMPT,) if checks.get("answer_in_prompt") else ()  # of one's own rows
    if length and row["n_prompt_tokens"] is not None and row["n_prompt_tokens"] + row["n_target_tokens"] > length:
        yield BEYOND


def called(row: Row) -> str:
    """A row's id, and its own one in its file."""
    own = own_name(source_of(row))
    return str(row["id"]) if own in ("", row["id"]) or HEX.fullmatch(own) else f"{row['id']} ({own})"


def overlap(one: Dataset | Folder, other: Dataset | Folder, *, on_progress: OnProgress | None = None) -> dict[str, int]:
    """How many rows of `one` ask, and rest on, what `other` (its training set, say) holds too.

    Questions are compared as they are written, twins by what they ask for, evidence by title and text.
    """
    known: dict[str, set[str]] = {"question": set(), "pair_id": set(), "evidence": set()}
    advance = told(on_progress, "rows", len(one) + len(other))
    for row in each(other.select(CONTENTS), advance, "rows"):
        known["question"].add(row["question"])
        known["pair_id"].add(row["pair_id"])
        known["evidence"].update(evidence_of(row))
    shared = Counter(rows_sharing_question=0, rows_sharing_pair=0, rows_sharing_evidence=0)
    for row in each(one.select(CONTENTS), advance, "rows"):
        shared["rows_sharing_question"] += row["question"] in known["question"]
        shared["rows_sharing_pair"] += row["pair_id"] in known["pair_id"]
        shared["rows_sharing_evidence"] += not known["evidence"].isdisjoint(evidence_of(row))
    return dict(shared)


def evidence_of(row: dict[str, Any]) -> list[str]:
    """Digests of the row's gold documents. Raises DataError where its checks have none."""
    for wrong in wrong_in_checks(row):
        raise DataError(f"row {row['id']}: {wrong}; build its dataset again")
    return json.loads(row["checks"])["evidence"]


def record_overlap(folder: str | Path, other: str | Path, *, on_progress: OnProgress | None = None) -> dict[str, int]:
    """`overlap`, written into the manifest and the card of the first dataset, by the name of the other's folder."""
    stored, beside = Folder(folder), Folder(other)
    found = overlap(stored, beside, on_progress=on_progress)
    told = {**stored.manifest.get("overlap", {}), Path(other).resolve().name: found}
    write_manifest(stored.path, {**stored.manifest, "overlap": told})
    return found


# ---- the files


def verify(path: str | Path, *, on_progress: OnProgress | None = None) -> list[str]:
    """Everything that is wrong with a dataset's files: missing or altered ones, rows that are not as many as the
    manifest says, ids that stand twice. Progress is of files. Raises DataError where there is no manifest."""
    folder = Folder(path)
    entries = files_of(folder)
    counted = each(entries, on_progress, "files", len(entries))
    broken = [problem for entry in counted if (problem := wrong(folder, entry))]
    if broken:
        return broken
    try:
        ids = [row["id"] for row in folder.select(("id",))]
    except DataError as error:
        return [str(error)]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    return [f"{len(twice)} ids stand more than once, such as {twice[0]}"] if twice else []


def files_of(folder: Folder) -> list[dict[str, Any]]:
    """What the manifest says of each file of rows or texts."""
    return [*folder.manifest["shards"], *([folder.manifest["documents"]] if folder.pooled else [])]


def wrong(folder: Folder, entry: dict[str, Any]) -> str | None:
    """What is wrong with a file that the manifest names."""
    path = folder.path / entry["file"]
    if not path.is_file():
        return f"{path}: missing"
    found = file_digest(path)
    return None if found == entry["sha256"] else f"{path}: sha256 {found}, the manifest records {entry['sha256']}"


# ---- two datasets


@dataclass
class Difference:
    """Two datasets by row: ids that only one of them has, and columns in which rows of one id or pair differ."""

    only_first: list[str] = field(default_factory=list)
    only_second: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)
    same: int = 0

    @property
    def columns(self) -> dict[str, int]:
        """How many rows differ in each column."""
        return dict(Counter(name for names in self.changed.values() for name in names).most_common())

    def hold(self, first: Marks, second: Marks) -> None:
        """Compare two rows, column by column."""
        names = [name for name in first if first[name] != second[name]]
        if names:
            self.changed[first["id"]] = names
        else:
            self.same += 1


def diff(one: Dataset | Folder, other: Dataset | Folder, *, on_progress: OnProgress | None = None) -> Difference:
    """The rows of two datasets that differ, and in what.

    Rows are held against the row of the same id; one without, against the next unmatched row of its pair (the same
    question), for an id changes with the row's text.
    """
    found, advance = Difference(), told(on_progress, "rows", len(one) + len(other))
    second = {row["id"]: marks_of(row) for row in each(other.rows, advance, "rows")}
    unmatched = []
    for row in each(one.rows, advance, "rows"):
        marks = marks_of(row)
        if row["id"] in second:
            found.hold(marks, second.pop(row["id"]))
        else:
            unmatched.append(marks)
    by_pair: dict[str, deque[Marks]] = {}
    for marks in second.values():
        by_pair.setdefault(marks["pair_id"], deque()).append(marks)
    for marks in unmatched:
        if rest := by_pair.get(marks["pair_id"]):
            found.hold(marks, rest.popleft())
        else:
            found.only_first.append(marks["id"])
    found.only_second = [marks["id"] for rest in by_pair.values() for marks in rest]
    return found


def marks_of(row: Row) -> Marks:
    """A row's columns as digests, but for those that name it."""
    return {name: value if name in ("id", "pair_id") else digest(value) for name, value in row.items()}
