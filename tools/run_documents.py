"""Run what README, docs and notebooks say, as written: `python tools/run_documents.py [PAGE ...]` runs a page's python,
then its commands, in a folder of its own, and says how long each took.

Files that a page speaks of as the reader's stand there, made small. What needs more than a reader has at hand (a GPU, a
network, a paid writer, hours) is named with the reason.
"""

import ast
import gzip
import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/index.md", "docs/recommend.md")
HUB = "a model of the hub"
TRAINING = "a training of a minute; docs/index.md runs one"
NOT_RUN = {  # pages whose commands are run but for these, by how they begin, and why
    "docs/data.md": {
        "haymaker build ...": "the command above it with another flag",
        "haymaker data diff": "it ends in exit code 1 where rows differ; tests/commands/test_datasets.py runs it",
    },
    "docs/training.md": {
        "haymaker train": TRAINING,
        "haymaker eval --model miniature-llama --adapter": TRAINING,
    },
    "docs/answers.md": {"haymaker eval --model meta-llama": HUB},
    "docs/studies.md": {
        "haymaker study run miniature --only": TRAINING,
        "haymaker study log": "it shows what that training said",
        "haymaker study run miniature --set": "a whole study, of a minute; `make demo` runs one",
        "haymaker study run studies/paper": "a GPU, or a cluster",
    },
    "docs/your-data.md": {
        "haymaker score answers.jsonl": "the reader has answers; tests/evaluation/test_given_answers.py scores some",
    },
    "docs/writer.md": {
        "haymaker write": "a writer that is paid; tests/commands/test_writer.py runs one that is not",
        "haymaker build": "what that writer writes",
    },
}
NO_PYTHON = {"docs/studies.md": "it reads the demo's results; examples/results.ipynb does so in CI"}
PYTHON_ONLY = {  # and why their commands are not run
    "docs/extending.md": "it has none",
    "docs/heads.md": "it has none",
    "docs/models.md": "models of the hub, and the reader's own",
    "docs/reference/index.md": "it has none",
}
LEFT_OUT = {
    "docs/findings.md": "a minute of answers; examples/heads.ipynb does the same in small",
    "docs/open-questions.md": "studies of hours",
    "docs/plug-ins.md": "tests/test_plug_in.py installs its package and runs it",
}
DATASETS = {
    "docs/data.md": ("train", "test", "other"),
    "docs/training.md": ("data",),
    "docs/answers.md": ("data",),
}  # that stand there
ELSEWHERE = ("haymaker study run miniature",)  # `make demo`
MILL = "The bridge is of stone. Ada Reyes founded the mill in 1871."
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PROMISE = re.compile(r"# F1 (\d\.\d+)")


def fenced(text: str, language: str) -> list[str]:
    """All blocks of a language."""
    return [body for named, body in FENCE.findall(text) if named == language]


def commands(text: str) -> Iterator[str]:
    """Every call of `haymaker` in a page's blocks, without its comment; continued lines joined."""
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(fenced(text, ""))).splitlines():
        if line.startswith("haymaker "):
            yield line.partition(" #")[0].strip()


def stand_ins(folder: Path, rows_of_file: int = 80) -> None:
    """The reader's own files."""
    (folder / "studies").symlink_to(ROOT / "studies")
    (folder / "writer.yaml").write_text("model: gpt-4o-mini")
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
        for i in range(rows_of_file)
    ]
    (folder / "mine.jsonl").write_text("".join(map(row_of_house, range(16))))
    (folder / "bought.jsonl").write_text("".join(map(row_of_house, range(16, 32))))
    for setting in ("low-low", "high-high"):
        (folder / f"{setting}.yaml").write_text(f"{{task: mdqa, setting: {setting}, length: 512, rows: 32}}")
    with gzip.open(folder / "nq-open.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def named_files(text: str) -> Iterator[tuple[str, str]]:
    """The YAML files that a page shows whole: the name stands in the first line, as a comment."""
    for body in fenced(text, "yaml"):
        if found := re.match(r"# ([\w.-]+\.yaml)\b", body):
            yield found[1], body


def datasets(names: Sequence[str], folder: Path) -> None:
    """Folders that a page takes as built: 64 rows of 512 tokens."""
    for name in names:
        line = "build --task mdqa --length 512 --rows 64 --quiet --out"
        split = ("--split", "test") if name == "test" else ()
        subprocess.run([Path(sys.executable).parent / "haymaker", *line.split(), folder / name, *split], check=True)


def row_of_house(i: int) -> str:
    """A row of one's own, of four documents."""
    told: list[dict[str, Any]] = [
        {"title": f"House {n}", "text": f"House {n} was built by Builder {n}."} for n in range(i, i + 4)
    ]
    told[i % 4] |= {"gold": True}
    gold = i + i % 4
    row = {"question": f"Who built house {gold}?", "answers": [f"Builder {gold}"], "documents": told}
    return json.dumps(row) + "\n"


def script_of(notebook: Path) -> str:
    """A notebook's cells as one script: the last line of each is shown as a notebook shows it, commands are run."""
    lines = [f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import run_documents as run"]
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines.append("".join(map(script_line, cell["source"])).rstrip())
            tree = ast.parse(lines[-1])
            if tree.body and isinstance(tree.body[-1], ast.Expr):
                last = tree.body[-1]
                lines[-1] = "\n".join(lines[-1].splitlines()[: last.lineno - 1] + [f"run.show({ast.unparse(last)})"])
    return "\n".join(lines)


def script_line(line: str) -> str:
    return f"run.command({line[1:].strip()!r})\n" if line.startswith("!") else line


def show(value: Any) -> None:
    """What a notebook does with a cell's last value."""
    for name in ("__repr__", "_repr_html_", "_repr_mimebundle_"):
        assert not hasattr(type(value), name) or value is None or getattr(value, name)()


def command(line: str) -> None:
    words = shlex.split(line)
    subprocess.run([Path(sys.executable).parent / words[0], *words[1:]], check=True)


def run_page(name: str, folder: Path) -> None:
    """A page's python and, of PAGES and NOT_RUN, its commands, each in a process as its reader runs it."""
    page = ROOT / name
    text = page.read_text(encoding="utf-8")
    for file, body in named_files(text):
        (folder / file).write_text(body)
    script = script_of(page) if page.suffix == ".ipynb" else "\n".join(fenced(text, "python"))
    script = "" if name in NO_PYTHON else script
    ran = subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    print(ran.stdout, end="", flush=True)
    keep_promises(script, ran.stdout)
    for line in to_run(name, text):
        started = time.perf_counter()
        words = shlex.split(line)
        subprocess.run([Path(sys.executable).parent / words[0], *words[1:]], cwd=folder, check=True)
        print(f"{time.perf_counter() - started:6.1f} s  {line}", file=sys.stderr)


def to_run(name: str, text: str) -> list[str]:
    """A page's commands, without those that are run elsewhere or named with the reason."""
    if name not in (*PAGES, *NOT_RUN):
        return []
    left = NOT_RUN.get(name, {})
    found = [line for line in commands(text) if line not in ELSEWHERE]
    return [
        line for line in found if line.endswith("--dry-run") and "..." not in line or not line.startswith(tuple(left))
    ]


def keep_promises(script: str, said: str) -> None:
    """Where a comment behind a `print` tells a score, the score it prints is that one, to 0.05: processors differ."""
    prints = [line for line in script.splitlines() if line.startswith("print(")]
    for line, printed in zip(prints, said.splitlines(), strict=False):
        if told := PROMISE.search(line):
            found = re.search(r"_f1 (\d\.\d+)", printed)
            kept = found is not None and abs(float(found[1]) - float(told[1])) <= 0.05
            assert kept, f"the page says {line}\nit prints {printed}"


def main() -> None:
    notebooks = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("*.ipynb"))
    for name in sys.argv[1:] or (*PAGES, *NOT_RUN, *PYTHON_ONLY, *notebooks):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            stand_ins(Path(folder), 1000 if name == "docs/writer.md" else 80)
            datasets(DATASETS.get(name, ()), Path(folder))
            run_page(name, Path(folder))
        print(f"{time.perf_counter() - started:6.1f} s  {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
