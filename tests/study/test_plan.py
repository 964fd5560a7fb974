"""Parts of a plan: cells by pattern, with all that they read."""

from collections.abc import Iterable

import pytest
from toy_stages import WORK, Toy

from haymaker.errors import ConfigError
from haymaker.study import Plan
from haymaker.study.cell import Cell

ALL_READ = ["data/mdqa/real", "train/mdqa/real", "heads/mdqa/real"]
CHAINS = ("train/mdqa/real", "train/mdqa/real@1", "train/niah/real", "train/mdqa/low[low]")


def plan() -> Plan:
    """data -> train -> heads for each model; and one cell that compares two of them."""
    cells = []
    for name in CHAINS:
        data, heads = name.replace("train", "data"), name.replace("train", "heads")
        cells += [Cell(data, WORK, Toy()), Cell(name, WORK, Toy(), {"data": data})]
        cells.append(Cell(heads, WORK, Toy(), {"adapter": name}))
    both = {"heads": "heads/mdqa/real", "reference": "heads/niah/real"}
    return Plan.of("toy", [*cells, Cell("compare/real", WORK, Toy(), both)])


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (["train/niah/real"], ["data/niah/real", "train/niah/real"]),
        (["data/*/real"], ["data/mdqa/real", "data/niah/real"]),
        (["train/mdqa/real@?"], ["data/mdqa/real@1", "train/mdqa/real@1"]),
        (["data/niah/*", "data/mdqa/real"], ["data/mdqa/real", "data/niah/real"]),
        (["compare/*"], [*ALL_READ, *(name.replace("mdqa", "niah") for name in ALL_READ), "compare/real"]),
    ],
)
def test_a_pattern_brings_all_that_its_cells_read_in_order(patterns: list[str], wanted: list[str]) -> None:
    assert list(plan().only(patterns).cells) == wanted


def test_cells_are_what_they_were_and_all_of_them_match_a_star() -> None:
    whole = plan()
    assert whole.only(["*"]) == whole
    assert all(whole.only(["heads/mdqa/real"]).cells[name] is whole.cells[name] for name in ("data/mdqa/real",))


def test_names_are_chosen_as_they_are_whatever_is_in_them() -> None:
    names = ["data/mdqa/low[low]", "train/mdqa/low[low]"]
    assert list(plan().of_names(names).cells) == names
    assert list(plan().of_names([]).cells) == []


@pytest.mark.parametrize("patterns", [["trian/*"], ["train/*", "nothing"], [""]])
def test_a_pattern_without_a_cell_is_refused(patterns: Iterable[str]) -> None:
    with pytest.raises(ConfigError, match="no cell of toy is called so; names begin with data, train, heads, compare"):
        plan().only(patterns)
