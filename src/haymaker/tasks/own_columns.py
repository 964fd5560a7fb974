"""What columns of rows of one's own are called: names of layouts and, beside them, those of the file."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from haymaker.tasks.row_files import cell

ID = "id"
ANSWERS = ("answers", "answer")  # either will do
PROMPTING = re.compile(r"system|instructions?|choices?|options?|examples|demonstrations|few_?shots?", re.IGNORECASE)


def listed(value: Any) -> Any:
    """A list that a table keeps as JSON in a text; anything else as it is."""
    found = cell(value) if isinstance(value, str) and value.startswith("[") else None
    return found if isinstance(found, list) and all(isinstance(one, str | list | dict) for one in found) else value


def objects(value: Any) -> Any:
    """The same, and of objects as columns of the same length, as `datasets` has them, a list of objects."""
    if not isinstance(value, Mapping) or not all(isinstance(column, list) for column in value.values()):
        return listed(value)
    if len({len(column) for column in value.values()}) != 1:
        return value
    return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]


LISTS: dict[str, Callable[[Any], Any]] = {
    **{key: objects for key in ("documents", "messages", "conversations", "ctxs", "paragraphs")},
    **{key: listed for key in ("answers", "answer_aliases", "outputs", "evidence")},
}


def renamed(row: Mapping[str, Any], columns: Mapping[str, str] | None) -> dict[str, Any]:
    """The row under the names that layouts know; `columns` says which of its own stands for which, `documents.text` of
    the objects in a list. A column that the row lacks stays away; `sift` counts it."""
    if not columns:
        return dict(row)
    taken = {*columns, *columns.values()}
    found = {key: value for key, value in row.items() if key not in taken}
    found |= {new: row[own] for new, own in columns.items() if own in row and "." not in new}
    for new, own in columns.items():
        parent, dot, inner = new.partition(".")
        if dot and isinstance(items := objects(found.get(parent)), list):
            found[parent] = [renamed(one, {inner: own}) if isinstance(one, Mapping) else one for one in items]
    return found


def mapped_in(row: Mapping[str, Any], columns: Mapping[str, str], names: Iterable[str]) -> set[str]:
    """Those of the names whose column the row has."""
    found = set()
    for new in names:
        parent, dot, _ = new.partition(".")
        items = objects(row.get(columns.get(parent, parent))) if dot else [row]
        if isinstance(items, list) and any(isinstance(one, Mapping) and columns[new] in one for one in items):
            found.add(new)
    return found


def unread_in(row: Mapping[str, Any]) -> list[str]:
    """Columns of a question's row that may be meant for its prompt, and are no part of it."""
    return sorted(key for key, value in row.items() if PROMPTING.fullmatch(str(key)) and value)


def row_name(place: str, row: Mapping[str, Any], source: str, columns: Mapping[str, str] | None) -> str:
    """A row for people: where it stands in its source, and its own id."""
    own = row.get((columns or {}).get(ID, ID))
    where = place.removeprefix(f"{source}, ").removeprefix(f"{source}/")
    return where if own in (None, "") else f"{where} ({own!s:.60})"


def own_name(source: object) -> str:
    """The id that a row has in its own file, of what its example says of its source; empty where it has none."""
    found = source.get("row_id") if isinstance(source, Mapping) else None
    return str(found) if found not in (None, "") else ""
