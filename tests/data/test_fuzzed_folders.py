"""Folders of datasets broken at random, in both layouts: an error of ours, or the rows that were written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import LETTERS, broken, fuzz, spoilt
from hypothesis import strategies as st

import haymaker as hm
from haymaker.data.dataset import Folder
from haymaker.data.layouts import pool
from haymaker.errors import HaymakerError
from haymaker.file_digests import file_digest
from haymaker.records import Example

NUMBERS = st.sampled_from([None, -1, 0, 1, 7, 300, 10_000, 2**31 - 1])
TEXTS = (
    st.none() | st.text(LETTERS, max_size=8).filter(lambda text: "\ud800" not in text) | st.sampled_from(["{}", "[1]"])
)


@pytest.fixture(scope="module", params=["rows", "pooled"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    home = tmp_path_factory.mktemp("written")
    rows = hm.build(hm.Recipe(task="mdqa", setting="real", length=256, rows=2), tokenizer).save(home / "rows")
    return rows if request.param == "rows" else pool(rows, home / "pooled").path


def kept(folder: Path) -> list[Example] | None:
    """The rows of a folder that is read, shown and asked for its recipe; None where it is refused."""
    try:
        data = hm.load_dataset(folder)
        shown = repr(data) + data._repr_html_() + repr(data.recipe)
        rows = list(data)
        assert shown
        assert rows == list(Folder(folder)) == [data[i] for i in range(len(data))]
    except HaymakerError as error:
        assert str(error).strip()  # noqa: PT017
        return None
    return rows


def test_spoilt_bytes_are_refused_or_change_no_row(written: Path, tmp_path: Path) -> None:
    folder, rows = Path(shutil.copytree(written, tmp_path / "data")), kept(written)
    files = sorted(path for path in folder.iterdir() if path.suffix != ".md")

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(files))
        path.write_bytes(data.draw(spoilt((written / path.name).read_bytes())))
        assert kept(folder) in (None, rows)
        shutil.copy(written / path.name, path)

    run()


def test_a_broken_manifest_is_refused_or_changes_no_row(written: Path, tmp_path: Path) -> None:
    folder, rows = Path(shutil.copytree(written, tmp_path / "data")), kept(written)
    manifest = json.loads((written / "manifest.json").read_text())

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        changed = data.draw(broken(json.loads(json.dumps(manifest))))
        (folder / "manifest.json").write_text(json.dumps(changed))
        assert kept(folder) in (None, rows)

    run()


@pytest.mark.parametrize("rows", [-1, -(2**70), 2**63, 1, 3])
def test_a_number_of_rows_that_is_not_that_of_the_shards(rows: int, written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "data"))
    manifest = json.loads((folder / "manifest.json").read_text())
    for found in (manifest | {"rows": rows}, manifest | {"shards": [manifest["shards"][0] | {"file": "x" * 300}]}):
        (folder / "manifest.json").write_text(json.dumps(found))
        assert kept(folder) is None


def test_a_manifest_without_shards_is_refused(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "data"))
    manifest = json.loads((folder / "manifest.json").read_text())
    for rows, reason in ((0, "a shard or more"), (False, "'rows' should be int, found bool")):
        (folder / "manifest.json").write_text(json.dumps(manifest | {"rows": rows, "shards": []}))
        with pytest.raises(hm.errors.DataError, match=reason):
            hm.load_dataset(folder)


def resealed(folder: Path, path: Path) -> None:
    """The file's new digest in the manifest, as one who edits a dataset would put it there."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in (*manifest["shards"], *([manifest["documents"]] if "documents" in manifest else [])):
        if entry["file"] == path.name:
            entry["sha256"] = file_digest(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_bytes_that_are_no_parquet_are_refused_whatever_the_manifest_says(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "data"))
    files = sorted(folder.glob("*.parquet"))

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(files))
        path.write_bytes(data.draw(spoilt((written / path.name).read_bytes())))
        resealed(folder, path)
        kept(folder)
        shutil.copy(written / path.name, path)

    run()


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A value of a row, or one of its kind."""
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(changed(value[at])), *value[at + 1 :]]
    if isinstance(value, dict):
        name = draw(st.sampled_from(list(value)))
        return value | {name: draw(changed(value[name]))}
    if isinstance(value, list):
        return draw(st.sampled_from([None, [], value * 2]))
    return draw(TEXTS if isinstance(value, str) else NUMBERS)


def whole(row: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """A pooled row with its texts in place; any other as it is."""
    messages = [
        {"role": message["role"], "content": "".join(said(piece, texts) for piece in message["pieces"])}
        if "pieces" in message
        else message
        for message in row["messages"]
    ]
    return row | {"messages": messages}


def said(piece: dict[str, Any], texts: list[str]) -> str:
    return piece["text"] if piece["document"] is None else texts[piece["document"]]


def covered(content: str, places: list[tuple[str, int, int, int]]) -> set[tuple[str, int, int]]:
    """Every character of every label."""
    return {(kind, index, at) for kind, index, start, stop in places for at in range(start, stop)}


def check_row(example: Example, row: dict[str, Any]) -> None:
    """The example says what the columns say."""
    contents = [message["content"] for message in row["messages"]]
    assert [message.text for message in example.messages] == contents
    assert (example.question, list(example.answers)) == (row["question"], row["answers"])
    starts = [sum(map(len, contents[:i])) for i in range(len(contents))]
    said = [
        (span["kind"], span["index"], starts[at] + span["char_start"], starts[at] + span["char_end"])
        for span in row["spans"]
        for at in [span["message"]]
    ]
    found = [(label.kind, label.index, span.start, span.stop) for label, span in example.labelled_spans]
    assert covered(example.text, found) == covered(example.text, said)


def test_changed_cells_are_refused_or_read_as_they_are(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "data"))
    path = next(folder.glob("data-*.parquet"))
    table = pq.read_table(path)
    first, second = table.to_pylist()
    texts = [text for file in folder.glob("documents*") for text in pq.read_table(file)["text"].to_pylist()]

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        row = data.draw(changed(first))
        try:
            table_of_both = pa.Table.from_pylist([row, second], table.schema)
        except pa.ArrowException:  # a number for a text that is null in pooled rows: no file holds it
            return
        pq.write_table(table_of_both, path)
        resealed(folder, path)
        rows = kept(folder)
        if rows is not None:
            check_row(rows[0], whole(row, texts))

    run()
