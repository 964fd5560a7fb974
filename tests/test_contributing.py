"""What CONTRIBUTING.md names is there."""

import re
from pathlib import Path

import pytest

from haymaker import choices

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = {section.partition("\n")[0]: section for section in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]}
PATHS = sorted(set(re.findall(r"`((?:src|tests|tools|benchmarks|docs)/[\w./]*|\.ci/run)`", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_every_file_it_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_recipe_names_the_file_to_copy_and_the_test_to_write(recipe: str) -> None:
    named = [path for path in PATHS if f"`{path}`" in RECIPES[recipe]]
    assert any(path.startswith("src/") for path in named)
    assert any(path.startswith("tests/") for path in named)


def test_every_registry_has_a_recipe_with_its_line() -> None:
    tables = {name for name in vars(choices) if isinstance(vars(choices)[name], choices.Registry)}
    assert tables == set(re.findall(r"`([A-Z]+)`", "".join(RECIPES.values()))) & tables
    assert len(tables) == len(choices.REGISTRIES)


def test_things_to_copy_stand_in_the_files_it_names() -> None:
    for name, path in re.findall(r"Copy `(\w+)`[^`]* in `(src/[\w/.]+\.py)`", TEXT):
        assert re.search(rf"^(class|def) {name}\b", (ROOT / path).read_text(), re.MULTILINE), f"{path}: {name}"


def test_its_links_lead_somewhere() -> None:
    assert all((ROOT / target).exists() for target in re.findall(r"\]\(([^)#:]+)\)", TEXT))


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", TEXT, re.MULTILINE)) <= targets
