"""Run what README and docs say, as written: `python tools/run_documents.py [PAGE ...]` runs a page's python, then its
commands, in a folder of its own, and says how long each took.

Files that a page speaks of as the reader's stand there, made small. A page that needs what nobody has here (a GPU, a
network, a paid writer) is not in PAGES.
"""

import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/your-data.md")
PYTHON_ONLY = ("docs/data.md", "docs/models.md", "docs/extending.md")
MILL = "The bridge is of stone. Ada Reyes founded the mill in 1871."
Run = Callable[[list[str]], int]


def fenced(text: str, language: str) -> list[str]:
    """All blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[str]:
    """Every call of `haymaker` in a page's blocks, without its comment; continued lines joined."""
    for line in "\n".join(fenced(text, "")).replace("\\\n", " ").splitlines():
        if line.startswith("haymaker "):
            yield line.partition("  #")[0].strip()


def stand_ins(folder: Path) -> None:
    """The reader's own files."""
    (folder / "mill.txt").write_text(MILL)
    passages = [{"title": f"Item {i}", "text": f"Item {i} is plain, and of no use to anybody."} for i in range(400)]
    (folder / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in passages))
    rows = [
        {
            "question": f"who built house {i}",
            "answers": [f"Builder {i}"],
            "ctxs": [
                {"title": f"House {i}", "text": f"House {i} was built by Builder {i}.", "isgold": True},
                *(
                    {"title": f"Tree {i}-{n}", "text": f"Tree {i}-{n} has leaves. " * 9, "isgold": False}
                    for n in range(9)
                ),
            ],
        }
        for i in range(80)
    ]
    (folder / "nq-open.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run_python(page: Path) -> None:
    """The page's python, all of it one script."""
    exec(compile("\n".join(fenced(page.read_text(encoding="utf-8"), "python")), page.name, "exec"), {})


def run_commands(page: Path, run: Run) -> None:
    """The page's commands, in order. Raises AssertionError for one that fails."""
    for line in commands(page.read_text(encoding="utf-8")):
        started = time.perf_counter()
        code = run(shlex.split(line))
        assert code == 0, f"{page.name}: exit code {code} of {line}"
        print(f"{time.perf_counter() - started:6.1f} s  {line}", file=sys.stderr)


def run_page(name: str, folder: Path) -> None:
    """A page's python and, where it is one of PAGES, its commands, each in a process as its reader runs it."""
    page = ROOT / name
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import run_documents as run\n"
    script += f"from pathlib import Path; run.run_python(Path({str(page)!r}))"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)

    def run(words: list[str]) -> int:
        return subprocess.run([Path(sys.executable).parent / words[0], *words[1:]], cwd=folder).returncode

    if name in PAGES:
        run_commands(page, run)


def main() -> None:
    for name in sys.argv[1:] or (*PAGES, *PYTHON_ONLY):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            stand_ins(Path(folder))
            run_page(name, Path(folder))
        print(f"{time.perf_counter() - started:6.1f} s  {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
