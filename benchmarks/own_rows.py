"""Real files as one's own rows: what `hm.read_examples` keeps and rejects, and rows that go out and come in again.

    python benchmarks/own_rows.py [--data FOLDER]

Every file of `--data` is read by the door of own rows. What it keeps is written in every form of export, in that of
OpenAI with every ending, read again and held against what was written: text, turns, question, answers, evidence; and
written once more, which must give the same bytes. Writes benchmarks/results/own_rows.md; exit code 1 if a row comes
back as another one.
"""

# pyright: reportMissingImports=false
import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_common import DEFAULT_DATA, require_data

import haymaker as hm
from haymaker.choices import EXPORTS
from haymaker.data.exports import ENDINGS, exported, write_rows
from haymaker.errors import DataError
from haymaker.records import Example

RESULTS = Path(__file__).parent / "results" / "own_rows.md"
TASKS = {
    "kv-retrieval": "kv",
    "topic_news": "summhay",
    "corpus": "a pool",
}  # files that are no questions, and their use


def read(path: Path) -> tuple[hm.Dataset | None, list[str]]:
    """The rows of a file, and its line of the table: file, rows kept, rows rejected by reason."""
    try:
        found = hm.read_examples(path)
    except DataError as error:
        use = next((use for start, use in TASKS.items() if start in path.name), None)
        if use is None or "no layout has the keys" not in str(error):
            raise
        return None, [path.name, "", f"no question: it is {use if use.startswith('a ') else f'what `{use}` reads'}"]
    rejected = found.manifest["rejected"]
    reasons = "; ".join(f"{count} ({reason})" for reason, count in rejected.items()) or "none"
    return found, [path.name, str(len(found)), reasons]


def said(example: Example) -> dict[str, Any]:
    """What a row says, whatever it is called."""
    turns = [(message.role, message.text) for message in example.messages]
    spans = {kind: example.spans.get(kind, []) for kind in ("evidence", "answer")}
    return {"turns": turns, "question": example.question, "answers": example.answers} | spans


def round_trips(found: list[Example], folder: Path) -> Iterator[tuple[str, str, int, int, bool]]:
    """(form, ending, rows, rows that came back equal, whether a second trip gives the same bytes)."""
    for form in EXPORTS:
        for ending in ENDINGS if form == "openai" else ENDINGS[:1]:
            paths = [folder / f"{form}{number}{ending}" for number in range(2)]
            write_rows(exported(found, form), paths[0])
            again = list(hm.read_examples(paths[0]))
            write_rows(exported(again, form), paths[1])
            equal = sum(said(one) == said(other) for one, other in zip(found, again, strict=False))
            same = paths[0].read_bytes() == paths[1].read_bytes()
            yield form, ending, len(found), equal, same


def table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    data = parser.parse_args().data
    require_data(data)
    files, kept = [], []
    for path in sorted(path for path in data.glob("*/*") if ".json" in path.name):
        found, line = read(path)
        files.append([path.parent.name, *line])
        kept += list(found or ())
    kept = list({example.id: example for example in kept}.values())
    with tempfile.TemporaryDirectory() as folder:
        trips = list(round_trips(kept, Path(folder)))
    lines = [
        [form, ending, f"{rows:,}", f"{equal:,}", "yes" if same else "no"] for form, ending, rows, equal, same in trips
    ]
    page = "# Real files as one's own rows\n\nMade by `benchmarks/own_rows.py`.\n\n"
    page += table(("source", "file", "rows", "rejected, by reason"), files)
    page += f"\nAll {len(kept):,} rows out, and in again:\n\n"
    page += table(("form", "file", "rows", "equal", "written again, the same bytes"), lines)
    RESULTS.write_text(page)
    print(page)
    return int(any(rows != equal or not same for _, _, rows, equal, same in trips))


if __name__ == "__main__":
    sys.exit(main())
