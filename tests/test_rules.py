"""The design's laws about the code itself, as tests."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "haymaker"
FILES = sorted(SOURCE.rglob("*.py"))
STAGES = ("train", "evaluate", "heads", "interventions", "report", "build")


def imports_of(path: Path) -> set[str]:
    """Modules of haymaker that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("haymaker."):
            found.add(str(node.module).removeprefix("haymaker."))
        elif isinstance(node, ast.Import):
            found |= {name.name.removeprefix("haymaker.") for name in node.names if name.name.startswith("haymaker.")}
    return found


def test_the_rule_reader_reads() -> None:
    assert {"tokens", "detection.passes", "records"} <= imports_of(SOURCE / "heads.py")


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_another(stage: str) -> None:
    files = [SOURCE / f"{stage}.py"] if (SOURCE / f"{stage}.py").exists() else sorted((SOURCE / stage).rglob("*.py"))
    assert files
    for path in files:
        others = {module.split(".")[0] for module in imports_of(path)} & (set(STAGES) - {stage})
        assert not others, f"{path.name} imports {others}"


def test_only_tokens_aligns_characters_with_tokens() -> None:
    offenders = [
        path.name for path in FILES if "offset" in path.read_text() and path.parent.name != "miniature"
        and "return_offsets_mapping" in path.read_text()
    ]  # fmt: skip
    assert offenders == ["tokens.py"]


def test_nothing_pickles_and_no_remote_code() -> None:
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"\bpickle\b(?!d)|torch\.save\(|torch\.load\(|trust_remote_code=True", text), path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_have_at_most_fifty_lines_of_code(path: Path) -> None:
    lines = path.read_text().splitlines()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            body = lines[node.lineno - 1 : node.end_lineno]
            code = [line for line in body if line.strip() and not line.strip().startswith("#")]
            docstring = (ast.get_docstring(node, clean=False) or "").count("\n") + 1
            assert len(code) - docstring <= 50, f"{path.name}: {node.name}"


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_import_what_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("haymaker"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name), f"{path.name}: {node.module} has no {name.name}"


def test_relative_links_of_the_documents_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_is_short_and_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for name in re.findall(r"`([a-z_]+\.py|[a-z_]+/)`", text):
        assert any((base / name).exists() for base in (SOURCE, SOURCE / "miniature", ROOT)), name


def test_nothing_names_this_machine() -> None:
    for path in [*FILES, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / ".ci" / "run"]:
        assert str(ROOT) not in path.read_text(), path
