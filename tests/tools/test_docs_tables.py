"""Tables of pages are those of choices.py and the configs, whole; the tool that writes them keeps what was by hand."""

import re
from typing import Annotated, Literal

import pytest
from docs_keys import CONFIGS, keys_of
from docs_tables import ROOT, TABLE, cells_of, generated, rewritten
from pydantic import Field

from haymaker.choices import REGISTRIES
from haymaker.config import Frozen, TrackConfig

PAGES = sorted((ROOT / "docs").rglob("*.md"))
PAGE = """before
<!-- table: toys -->
| toy | is | by hand |
|---|---|---|
| `b` | old | of b, with \\| in it |
| `gone` | old | of gone |
<!-- /table -->
after
"""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_tables_of_a_page_are_those_of_choices(path) -> None:
    page = path.read_text(encoding="utf-8")
    assert rewritten(page, generated()) == page, "run python tools/docs_tables.py"
    for table in TABLE.finditer(page):
        for line in table[3].strip().splitlines():
            assert all(cells_of(line)), f"an empty cell in {table[2]}: {line}"


def test_every_registry_stands_in_a_page() -> None:
    written = {name for path in PAGES for _, name, _, _ in TABLE.findall(path.read_text(encoding="utf-8"))}
    kinds = {table.group.removeprefix("haymaker.") for table in REGISTRIES}
    assert kinds | {"settings", "groups"} | set(CONFIGS) == set(generated())
    assert set(generated()) <= written


def test_keys_are_told_in_the_words_of_a_yaml_file() -> None:
    class Toy(Frozen):
        """A toy.

        Attributes:
            sizes: Of its parts,
                in metres; None: any.

        Examples:
            other: not a key
        """

        sizes: tuple[int, ...] | None = None
        kind: Literal["a", "b"] = "a"
        share: Annotated[float, Field(description="a|b")]
        count: int = 0
        inner: "dict[str, TrackConfig]" = {}

    assert keys_of(Toy) == [
        ["`sizes`", "list of integers or null", "`null`", "Of its parts, in metres; null: any."],
        ["`kind`", "`a` or `b`", "`a`", ""],
        ["`share`", "number", "must be given", r"a\|b"],
        ["`count`", "integer", "`0`", ""],
        ["`inner`", "keys with keys of their own", "`{}`", ""],
    ]


def test_every_config_stands_in_the_tables() -> None:
    """But for what stages and calls are told, which no file holds."""
    kinds, found = [Frozen], set()
    while kinds:
        found |= set(kinds := [one for kind in kinds for one in kind.__subclasses__()])
    written = {kind for kind in found if kind.__module__.startswith("haymaker.") and "Params" not in kind.__name__}
    assert written == set(CONFIGS.values())


def test_rows_follow_the_table_and_cells_by_hand_follow_their_row() -> None:
    page = rewritten(PAGE, {"toys": [["`a`", "new"], ["`b`", "newer"]]})
    rows = re.findall(r"^\|.*", page, re.MULTILINE)[2:]
    assert rows == ["| `a` | new |  |", "| `b` | newer | of b, with \\| in it |"]
    assert (page.splitlines()[0], page.splitlines()[-1]) == ("before", "after")
    assert rewritten(page, {"toys": [["`a`", "new"], ["`b`", "newer"]]}) == page


def test_a_table_that_nobody_generates_is_an_error() -> None:
    with pytest.raises(KeyError, match="toys"):
        rewritten(PAGE, {})
