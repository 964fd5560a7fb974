"""What is public says what it takes, gives and raises, and shows one call, which runs here."""

import dataclasses
import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import haymaker as hm

# Functions that raise nothing on purpose.
SILENT = {"citations_lenient", "normalise", "known"}


def public() -> Iterator[tuple[str, Any]]:
    """Every public function and class, by the name under which it is used."""
    spaces = (
        ("hm", hm, hm.__all__),
        ("hm.metrics", hm.metrics, hm.metrics.__all__),
        ("hm.stats", hm.stats, hm.stats.__all__),
    )
    for prefix, module, names in spaces:
        for name in names:
            found = getattr(module, name)
            if inspect.isclass(found) or inspect.isfunction(found):
                yield f"{prefix}.{name}", found


each = pytest.mark.parametrize("thing", [pytest.param(found, id=name) for name, found in public()])


def section(docstring: str, title: str) -> str:
    """The body of a section, empty where there is none."""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", f"{docstring}\n", re.MULTILINE)
    return found[1] if found else ""


def described(docstring: str, title: str) -> list[str]:
    return re.findall(r"^    (\w+): ", section(docstring, title), re.MULTILINE)


def parameters(thing: Any) -> list[str]:
    return [name for name in inspect.signature(thing).parameters if name != "self"]


def fields(thing: type) -> list[str]:
    """What a class is made of, or what making one takes."""
    if hasattr(thing, "model_fields"):
        return list(thing.model_fields)
    if dataclasses.is_dataclass(thing):
        return [field.name for field in dataclasses.fields(thing)]
    return list(getattr(thing, "_fields", ())) or parameters(thing)


@each
def test_docstring_names_all_that_it_takes(thing: Any) -> None:
    text = inspect.getdoc(thing) or ""
    wanted = fields(thing) if inspect.isclass(thing) else parameters(thing)
    assert set(described(text, "Args") + described(text, "Attributes")) == set(wanted)


@each
def test_docstring_says_what_comes_back_and_what_is_raised(thing: Any) -> None:
    text = inspect.getdoc(thing) or ""
    if inspect.isfunction(thing):
        assert section(text, "Returns") or section(text, "Yields")
        assert bool(section(text, "Raises")) == (thing.__name__ not in SILENT)
    for name in described(text, "Raises"):
        assert hasattr(hm.errors, name) or name in ("ValueError", "IndexError"), name


@pytest.fixture(scope="module")
def setup() -> dict[str, Any]:
    """What all examples share, as the reference's first page says: a model and two rows that it can answer."""
    lm = hm.load_model("miniature-llama")
    rows = hm.build(hm.Recipe(task="mdqa", length=128, rows=2, split="test"), lm.tokenizer)
    return {"hm": hm, "np": np, "torch": torch, "lm": lm, "rows": rows}


@each
def test_example_runs(thing: Any, setup: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", setup, thing.__name__, None, None)
    assert example.examples
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
    assert not said, "".join(said)
