"""What the script that runs the documents takes out of them."""

import json
from pathlib import Path

import pytest
from run_documents import (
    ELSEWHERE,
    LEFT_OUT,
    NOT_RUN,
    PAGES,
    PYTHON_ONLY,
    ROOT,
    commands,
    fenced,
    named_files,
    script_of,
    to_run,
)

PAGE = """```
haymaker a --b 1   # why
haymaker c \\
  --d e
other
```

```python
haymaker no
```

```
haymaker f
```
"""
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_commands_and_blocks_are_found_as_they_are_written() -> None:
    assert list(commands(PAGE)) == ["haymaker a --b 1", "haymaker c --d e", "haymaker f"]
    assert fenced(PAGE, "python") == ["haymaker no\n"]


def test_every_page_that_says_what_to_run_is_run_or_named_with_a_reason() -> None:
    pages = [*ROOT.glob("*.md"), *(path for folder in ("docs", "examples") for path in (ROOT / folder).rglob("*.md"))]
    texts = {page.relative_to(ROOT).as_posix(): page.read_text() for page in pages}
    saying = {name for name, text in texts.items() if fenced(text, "python") or list(commands(text))}
    assert saying == {*PAGES, *NOT_RUN, *PYTHON_ONLY, *LEFT_OUT}
    assert len(saying) == len(PAGES) + len(NOT_RUN) + len(PYTHON_ONLY) + len(LEFT_OUT)
    for name, reason in PYTHON_ONLY.items():
        assert ("it has none" in reason) == (not list(commands(texts[name]))), name
    for line in ELSEWHERE:
        assert any(line in commands(text) for text in texts.values()), line


@pytest.mark.parametrize("name", NOT_RUN)
def test_commands_that_are_not_run_stand_on_their_page_with_a_reason(name: str) -> None:
    text = (ROOT / name).read_text()
    assert to_run(name, text)
    for start, reason in NOT_RUN[name].items():
        assert any(line.startswith(start) and line not in to_run(name, text) for line in commands(text)), start
        assert reason


def test_a_file_that_a_page_shows_stands_where_its_commands_are_run() -> None:
    shown = [file for page in (*PAGES, *NOT_RUN) for file in named_files((ROOT / page).read_text())]
    assert ("mine.yaml", True) in [(name, "tasks:" in body) for name, body in shown]
    assert list(named_files("```yaml\na: 1\n```\n```yaml\n# b.yaml: why\nb: 1\n```\n")) == [
        ("b.yaml", "# b.yaml: why\nb: 1\n")
    ]


def test_a_dry_run_is_run_also_of_what_is_not() -> None:
    page = "```\nhaymaker write --rows 1\nhaymaker write --rows 1 --dry-run\n```\n"
    assert to_run("docs/writer.md", page) == ["haymaker write --rows 1 --dry-run"]


def test_a_notebook_is_a_script_that_shows_what_a_notebook_shows(tmp_path: Path) -> None:
    cells = [["x = (\n", "    1\n", ")\n", "x"], ["!haymaker stats data\n", "y = 2"], ["assert x"]]
    made = [{"cell_type": "code", "source": source} for source in cells] + [
        {"cell_type": "markdown", "source": ["# a"]}
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": made}))
    lines = script_of(path).splitlines()[1:]
    assert lines == ["x = (", "    1", ")", "run.show(x)", "run.command('haymaker stats data')", "y = 2", "assert x"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_keep_no_outputs_and_are_python(path: Path) -> None:
    compile(script_of(path), path.name, "exec")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
