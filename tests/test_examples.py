"""Documents that run: the notebooks of examples/, and README's python and commands, as they are written."""

import builtins
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import run_documents
from command_line import run

import haymaker as hm

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def shown(value: Any) -> Any:
    """What a notebook does with the last line of a cell."""
    if value is not None:
        assert repr(value)
        for name in ("_repr_html_", "_repr_mimebundle_"):
            if hasattr(type(value), name):
                assert getattr(value, name)()
    return value


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_keep_no_outputs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "displayhook", shown)
    names: dict[str, Any] = {"__builtins__": builtins}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"]
        body = ""
        for line in cell["source"]:
            if line.startswith("!haymaker "):
                found = run(*shlex.split(line.removeprefix("!haymaker ")))
                assert found.exit_code == 0, found.output
            else:
                body += line
        *before, last = body.rstrip().split("\n")
        statements = compile(body, path.name, "exec", dont_inherit=True)
        if last[:1].isspace() or last[:1] in ")]}" or " = " in last or last.startswith(("assert", "import")):
            exec(statements, names)
        else:
            exec("\n".join(before), names)
            shown(eval(last, names))


def test_readmes_python_and_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "README.md"
    run_documents.run_python(page)

    def inside(words: list[str]) -> int:
        found = run(*words[1:])
        assert found.exit_code == 0, f"{words}: {found.output}"
        return found.exit_code

    run_documents.run_commands(page, inside)
    assert hm.load_results("predictions")["evaluation"].f1[0] > 0.9  # there is signal to see
    masked = hm.load_results("ablated")["ablation"].set_index("heads").f1
    assert masked["retrieval"] < masked["none"]


def test_commands_are_found_as_they_are_written() -> None:
    page = "```\nhaymaker a --b 1   # why\nhaymaker c \\\n  --d '# e'\nother\n```\n\n```python\nhaymaker no\n```\n"
    assert list(run_documents.commands(page)) == ["haymaker a --b 1", "haymaker c   --d '# e'"]
