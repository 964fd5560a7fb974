"""What the documents say exists: links, names of `hm`, commands and their flags, a reference of every public name."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from run_documents import commands, fenced

import haymaker
from haymaker.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@each_page
def test_relative_links_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`([a-z_/]+/[a-z_-]+\.(?:py|yaml|md))", page.read_text()):
        assert page.name == "log.md" or any((base / name).exists() for base in (ROOT, ROOT / "src" / "haymaker")), name


@each_page
def test_names_of_hm_exist(page: Path) -> None:
    for name in set(re.findall(r"\bhm\.(\w+)", page.read_text())):
        assert hasattr(haymaker, name), name


@each_page
def test_commands_and_their_flags_exist(page: Path) -> None:
    for line in commands(page.read_text()):
        words = shlex.split(line)[1:]
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            assert words[0] in command.commands, words
            command = command.commands[words.pop(0)]
        flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= flags, words


def test_every_public_name_stands_in_the_reference_once() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert sorted(re.findall(r"^::: haymaker\.(\w+)$", pages, re.MULTILINE)) == sorted(haymaker.__all__)


def test_site_is_linked_page_by_page_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in text, page.name


@pytest.mark.parametrize("name", ["data.md", "your-data.md", "models.md", "extending.md"])
def test_python_of_the_pages_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(fenced((ROOT / "docs" / name).read_text(), "python")), name, "exec"), {})
