"""Running commands in tests."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from typer import testing
from typer.testing import CliRunner, Result

from haymaker.cli import app

testing._get_command = cache(testing._get_command)  # the tree of commands, which takes longer than most of what is run
WORLD = ("--task", "mdqa", "--length", 128, "--rows", 4)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def passes(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(code: int, message: str, *words: object) -> None:
    result = run(*words)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def leaves(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*words, name))
        else:
            yield " ".join((*words, name)), command
