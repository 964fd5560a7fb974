"""What people read: as wide as the terminal, and in a file or pipe whole, a line a row."""

import json

import pytest
from rich.console import Console

from haymaker.commands import output

LONG = "a [red]reason[/red] that takes more than the eighty columns that a pipe is thought to have, and then some more"
ROWS = [{"cell": "first", "f1": 0.5, "note": LONG}, {"cell": "second", "f1": None, "note": ""}]


def test_a_pipe_gets_a_line_a_row_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows(ROWS, ("cell", "f1", "note"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["cell", "f1", "note"], ["first", "0.500", *LONG.split()], ["second"]]
    assert all(line == line.rstrip() for line in lines)


def test_a_terminal_gets_no_line_wider_than_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "out", Console(width=40, force_terminal=True, color_system=None))
    output.show_rows(ROWS, ("cell", "f1", "note"))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 40
    assert "[red]reason[/red]" in said


def test_values_are_lines_for_people_and_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"out": "a b", "f1": 0.25, "n": 3}
    output.show_values(values, as_json=True)
    assert json.loads(capsys.readouterr().out) == values
    output.show_values(values, as_json=False)
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["out", "a b"],
        ["f1", "0.2500"],
        ["n", "3"],
    ]
