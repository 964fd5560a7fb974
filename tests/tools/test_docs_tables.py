"""The pages' tables are those of choices.py, whole, and the tool that writes them keeps what was written by hand."""

import re

import pytest
from docs_tables import ROOT, TABLE, cells_of, generated, rewritten

from haymaker.choices import REGISTRIES

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
    assert kinds | {"settings", "groups"} == set(generated())
    assert set(generated()) <= written


def test_rows_follow_the_table_and_cells_by_hand_follow_their_row() -> None:
    page = rewritten(PAGE, {"toys": [["`a`", "new"], ["`b`", "newer"]]})
    rows = re.findall(r"^\|.*", page, re.MULTILINE)[2:]
    assert rows == ["| `a` | new |  |", "| `b` | newer | of b, with \\| in it |"]
    assert (page.splitlines()[0], page.splitlines()[-1]) == ("before", "after")
    assert rewritten(page, {"toys": [["`a`", "new"], ["`b`", "newer"]]}) == page


def test_a_table_that_nobody_generates_is_an_error() -> None:
    with pytest.raises(KeyError, match="toys"):
        rewritten(PAGE, {})
