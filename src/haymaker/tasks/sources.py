"""Where real rows come from: a file, or a dataset of the Hugging Face hub, told apart by name.

`org/name` that is no file here is a dataset of the hub; `:config`, `@revision` and `#split` may follow. Without a split
the hub's train, validation or test stands for the recipe's train, dev or test.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from haymaker.console import told
from haymaker.drafts import Rejected
from haymaker.errors import ConfigError, DataError, LacksColumn
from haymaker.file_digests import file_digest, folder_digest
from haymaker.records import digest
from haymaker.tasks.own_columns import mapped_in, row_name
from haymaker.tasks.row_files import rows_in

HUB_NAME = re.compile(
    r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?(?:#(?P<split>\w+))?"
)
FILE_ENDINGS = (".json", ".jsonl", ".gz", ".txt", ".zst", ".parquet", ".csv", ".tsv", ".arrow")
HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
COMMIT = re.compile(r"@([0-9a-f]{40})(?:/|$)")
Item = TypeVar("Item")


@dataclass(frozen=True)
class HubName:
    """A dataset of the hub, as a recipe's `source` names it."""

    name: str
    config: str | None
    revision: str | None
    split: str

    def __str__(self) -> str:
        parts = ((":", self.config), ("@", self.revision), ("#", self.split))
        return self.name + "".join(mark + part for mark, part in parts if part)


def hub_name(source: str, split: str) -> HubName | None:
    """The dataset of the hub that a source names; None for the path of a file."""
    match = HUB_NAME.fullmatch(source)
    if match is None or Path(source).exists() or source.endswith(FILE_ENDINGS):
        return None
    found = match.groupdict()
    return HubName(found["name"], found["config"], found["revision"], found["split"] or HUB_SPLITS[split])


@dataclass(frozen=True)
class FileRows:
    """The rows of a file or folder of rows. Reading raises DataError naming file and line."""

    path: str
    split: str = "train"

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(place, row) of every row; `place` names file and line for messages."""
        return rows_in(self.path, self.split)

    @property
    def name(self) -> str:
        """What places begin with."""
        return self.path

    @property
    def inputs(self) -> dict[str, str]:
        """The file and its sha256."""
        path = Path(self.path)
        return {self.path: folder_digest(path) if path.is_dir() else file_digest(path)}


class HubRows:
    """The rows of a dataset of the hub. Raises DataError where it cannot be fetched."""

    def __init__(self, name: HubName) -> None:
        self.name, self.table = name, fetched(name)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(place, row) of every row; `place` names dataset and row, from 0, for messages."""
        for number, row in enumerate(self.table):
            yield f"{self.name}, row {number}", dict(row)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The dataset, with the commit it was fetched at where the client knows it, and a sha256 of its rows."""
        sums = getattr(self.table.info, "download_checksums", None) or {}
        commits = {match.group(1) for match in map(COMMIT.search, sums) if match}
        revision = commits.pop() if len(commits) == 1 else self.name.revision
        known = HubName(self.name.name, self.name.config, revision, self.name.split)
        whole = hashlib.sha256()
        for _, row in self:
            whole.update(f"{json.dumps(row, sort_keys=True, default=str)}\n".encode())
        return {f"hub:{known}": whole.hexdigest()}


def fetched(name: HubName) -> Any:
    """One split of a dataset of the hub, as the `datasets` client loads it."""
    try:
        from datasets import load_dataset
    except ImportError:
        raise ConfigError(
            f"source: {name.name} is no file here, and a dataset of the hub needs the datasets package; "
            "pip install datasets, or give the path of a file"
        ) from None
    try:
        return load_dataset(name.name, name.config, revision=name.revision, split=name.split)
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"source: {name.name} is no file here, and the hub did not give it as {name} ({said[:200]}); "
            "give the path of a file, or a dataset's name with its :config, @revision or #split"
        ) from None


def open_rows(source: str, split: str) -> FileRows | HubRows:
    """The rows of a file or folder, or of a dataset of the hub."""
    name = hub_name(source, split)
    return FileRows(source, split) if name is None else HubRows(name)


class Rows(Protocol):
    """Rows with their places, and what these begin with."""

    @property
    def name(self) -> Any: ...

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]: ...


def sift(
    rows: Rows, parse: Callable[[dict[str, Any], str], Item | str], columns: Mapping[str, str] | None = None
) -> tuple[list[Item], Rejected]:
    """Parsed rows, several where `parse` gives a list, and the reasons that it gives instead of a row.

    A row that lacks a column which others have is of no use; DataError for a column that none has, of those that
    `columns` names too.
    """
    kept: list[Item] = []
    rejected, first = Rejected(), ""
    lacking: list[tuple[str, LacksColumn]] = []
    told_of: Mapping[str, str] = columns or {}
    seen, absent, advance = set[str](), {*told_of}, told(None, "rows read")
    for place, row in rows:
        first = first or f"{place}: no column {{}} here; found {', '.join(sorted(row)) or 'none'}"
        seen.update(row)
        absent -= mapped_in(row, told_of, absent)
        name = partial(row_name, place, row, str(rows.name), told_of)
        advance(1)
        try:
            parsed: Any = parse(row, place)
        except LacksColumn as error:
            if not error.groups and not absent:
                raise
            lacking.append((name(), error))
            continue
        for one in parsed if isinstance(parsed, list) else [parsed]:
            if isinstance(one, str):
                rejected.add(one, name())
            else:
                kept.append(one)
    if first and absent:
        raise DataError(
            first.format(", ".join(sorted(told_of[one] for one in absent))) + "; no other row has it either"
        )
    for row, error in lacking:
        groups = [[told_of.get(one) or one for one in group] for group in error.groups]
        rejected.add(lack_of(groups, seen, error), row)
    return kept, rejected


def lack_of(groups: Iterable[list[str]], seen: set[str], error: DataError) -> str:
    """Why a row is of no use that lacks columns of other rows; the error where these do not have them either."""
    known = [group for group in groups if group and seen.issuperset(group)]
    if not known:
        raise error
    return f"it lacks {', '.join(min(known, key=len))}, which other rows have"


def in_split(text: str, split: str, shares: Mapping[Any, float] | None) -> bool:
    """Whether a question belongs to the split, by hash: stable when data grows. Without shares all rows do."""
    if shares is None:
        return True
    place = int(digest(["split", text])[:15], 16) / 16**15 * sum(shares.values())
    for name, share in shares.items():
        if place < share:
            return name == split
        place -= share
    return False
