"""The design's laws about the code itself, as tests."""

import ast
import importlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import jaxtyping
import numpy as np
import pytest

from haymaker.stats.comparisons import sign_flip

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "haymaker"
FILES = sorted(SOURCE.rglob("*.py"))


def test_functions_have_at_most_fifty_lines_of_code() -> None:
    for path in FILES:
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                start = node.body[0].lineno - 1
                body = node.body[0].end_lineno if ast.get_docstring(node) else start
                function = lines[node.lineno - 1 : start] + lines[body : node.end_lineno]
                code = [line for line in function if line.strip() and not line.strip().startswith("#")]
                assert len(code) <= 50, f"{path}: {node.name}"


def parameters(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Functions of a file with their parameters that may be given by position, and those given by name alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            given = [one.arg for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")]
            yield node.name, given, [one.arg for one in node.args.kwonlyargs]


def test_functions_take_at_most_five_arguments_by_position_and_progress_has_one_word() -> None:
    for path in FILES:
        for name, given, by_name in parameters(path):
            assert len(given) <= 5, f"{path}: {name}{given}"
            assert not {"progress", "callback", "progress_callback"} & {*given, *by_name}, f"{path}: {name}"


def test_shapes_are_checked_wherever_there_are_any() -> None:
    """Every function and method that names a shape is wrapped by what checks it."""
    shaped = 0
    for path in FILES:
        if re.search(r"^from jaxtyping", path.read_text(), re.MULTILINE):
            module = importlib.import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts))
            for one in own_functions(module):
                if re.search(r"\b(Float|Int|Bool)\d*\[", str(one.__annotations__)):
                    assert hasattr(one, "__wrapped__"), one
                    shaped += 1
    assert shaped > 150
    with pytest.raises(jaxtyping.TypeCheckError):
        sign_flip(np.zeros((2, 3)))


def own_functions(module: ModuleType) -> Iterator[FunctionType]:
    """Functions of a module, and methods of its classes."""
    own = [one for one in vars(module).values() if getattr(one, "__module__", "") == module.__name__]
    for one in own + [found for kind in own if isinstance(kind, type) for found in vars(kind).values()]:
        if isinstance(one, FunctionType) and one.__module__ == module.__name__:
            yield one


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_import_what_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("haymaker"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name), f"{path.name}: {node.module} has no {name.name}"


def test_readme_is_short_and_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for name in re.findall(r"`([a-z_]+\.py|[a-z_]+/)`", text):
        assert any((base / name).exists() for base in (SOURCE, ROOT)), name


def test_nothing_names_this_machine() -> None:
    for path in [*FILES, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / ".ci" / "run"]:
        assert str(ROOT) not in path.read_text(), path


def test_tests_leave_nothing_in_the_system_s_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the library and the processes that tests start put there goes where pytest cleans up."""
    folder = tempfile.gettempdir()
    assert Path(folder).is_relative_to(tmp_path_factory.getbasetemp())
    assert os.environ["TMPDIR"] == folder
