"""Options of every command: before it or behind it, the same; quiet is results and errors, and no more."""

from pathlib import Path

import pytest
from command_line import leaves, run
from typer.main import get_command

from haymaker.cli import app
from haymaker.commands.boundary import hoisted


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("build --quiet --rows 3", "--quiet build --rows 3"),
        ("-q build", "-q build"),
        ("build --log-level debug --rows 3", "--log-level debug build --rows 3"),
        ("build --log-level=debug", "--log-level=debug build"),
        ("show data -- --quiet", "show data -- --quiet"),
        ("build", "build"),
    ],
)
def test_options_of_all_commands_go_in_front(words: str, expected: str) -> None:
    assert hoisted(words.split()) == expected.split()


@pytest.mark.parametrize("place", ["before", "behind", "nowhere"])
def test_quiet_leaves_results_and_errors(place: str, tmp_path: Path) -> None:
    words = ["build", "--task", "niah", "--length", 256, "--rows", 1]
    words = {"before": ["-q", *words], "behind": [*words, "--quiet"], "nowhere": words}[place]
    found = run(*words, "--out", tmp_path / "data")
    assert str(tmp_path / "data") in found.stdout.replace("\n", "")
    assert bool(found.stderr) == (place == "nowhere")
    assert (
        "no export 'csv'"
        in run("-q", "export", tmp_path / "data", "--format", "csv", "--out", tmp_path / "a.jsonl").stderr
    )


def test_every_command_speaks_json() -> None:
    silent = [name for name, command in leaves(get_command(app)) if not any("--json" in p.opts for p in command.params)]
    assert silent == []


def test_levels_are_four() -> None:
    found = run("--log-level", "loud", "stats", "nowhere")
    assert found.exit_code == 2
    assert "--log-level loud: expected debug, info, warning, error" in found.stderr.replace("\n", " ")


def test_a_shell_may_complete() -> None:
    assert "--install-completion" in run("--help").stdout
