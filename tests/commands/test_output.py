"""What people read: as wide as the terminal, and in a file or pipe whole, a line a row."""

import json
from pathlib import Path

import pytest
from command_line import WORLD, passes, run
from rich.console import Console

from haymaker.commands import output
from haymaker.errors import ConfigError, OutputError
from haymaker.models.packaged import MINIATURES
from haymaker.report.wording import chance

LONG = "a [red]reason[/red] that takes more than the eighty columns that a pipe is thought to have, and then some more"
ROWS = [{"cell": "first", "f1": 0.5, "note": LONG}, {"cell": "second", "f1": None, "note": ""}]


def test_a_pipe_gets_a_line_a_row_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows(ROWS, ("cell", "f1", "note"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["cell", "f1", "note"], ["first", "0.500", *LONG.split()], ["second"]]
    assert all(line == line.rstrip() for line in lines)


def test_a_terminal_gets_no_line_wider_than_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "out", Console(width=40, force_terminal=True, color_system=None))
    output.show_rows(ROWS, ("cell", "f1", "note"))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 40
    assert "[red]reason[/red]" in said


def test_values_are_lines_for_people_and_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"out": "a b", "f1": 0.25, "n": 3, "operations": 968379697299456123.0}
    output.show_values(values, as_json=True)
    assert json.loads(capsys.readouterr().out) == values
    output.show_values(values, as_json=False)
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["out", "a b"],
        ["f1", "0.2500"],
        ["n", "3"],
        ["operations", "9.684e+17"],  # a float has no more digits to tell
    ]


def test_a_number_that_json_does_not_know_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_json({"rows": [{"f1": float("nan"), "n": 2}], "most": (float("inf"),)})
    assert json.loads(capsys.readouterr().out) == {"rows": [{"f1": None, "n": 2}], "most": [None]}


# ---- outputs


def test_every_file_is_declared_and_none_is_replaced_unasked(tmp_path: Path) -> None:
    out, sidecar = tmp_path / "h.safetensors", tmp_path / "h.json"
    sidecar.write_text("another command's")
    with pytest.raises(ConfigError, match=r"h\.json exists"), output.fresh_file(out, sidecar, overwrite=False):
        pass
    with pytest.raises(AssertionError, match="not declared"), output.fresh_file(out, overwrite=False) as work:
        work.with_name("h.json").write_text("mine")
    assert [path.name for path in tmp_path.iterdir()] == ["h.json"]
    assert sidecar.read_text() == "another command's"
    with output.fresh_file(out, sidecar, overwrite=True) as work:
        work.with_name("h.json").write_text("mine")
    assert sidecar.read_text() == "mine"


def test_what_a_command_reads_is_not_its_output(tmp_path: Path) -> None:
    data = tmp_path / "study" / "data"
    data.mkdir(parents=True)
    for out in (data, data.parent, tmp_path):
        with pytest.raises(ConfigError, match="is what this command reads, or holds it"):
            output.declare_folder(out, overwrite=True, reading=("miniature-llama", None, data))
    output.declare_folder(data / "answers", overwrite=False, reading=(data,))
    with pytest.raises(ConfigError, match="written twice"):
        output.declare(tmp_path / "a", tmp_path / "a", overwrite=True)


def test_no_file_of_an_input_is_replaced_or_joined_by_one_of_its_name(tmp_path: Path) -> None:
    passes("build", *WORLD, "--out", tmp_path / "data")
    passes("data", "pool", tmp_path / "data", tmp_path / "pooled")
    for folder in (tmp_path / "data", tmp_path / "pooled", MINIATURES / "sparse"):
        for path in folder.iterdir():
            refused_beside(folder, path.name)
        for name in ("heads.safetensors", "page.html", "rows.jsonl"):
            output.declare(folder / name, overwrite=True, reading=(folder,))
    for name in ("adapter_model.safetensors", "adapter_config.json", "base.json", "training.json", "tracking.jsonl"):
        refused_beside(tmp_path, name)  # nor made where none was


def refused_beside(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is a part of what this command reads"):
        output.declare(folder / name, overwrite=True, reading=("miniature-llama", None, folder))


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with (
        pytest.raises(ConfigError, match=r"holds thesis\.tex, which this command does not write"),
        output.fresh_folder(tmp_path, overwrite=True, entries=("tables",)),
    ):
        pass


@pytest.mark.parametrize(("place", "error"), [("file/out", OutputError), ("/dev/null", ConfigError), ("", ConfigError)])
def test_what_cannot_be_written_is_said_before_anything_runs(
    place: str, error: type[Exception], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / place if place == "file/out" else Path(place)
    with pytest.raises(error, match="cannot be written|no file"):
        output.declare(path, overwrite=True)
    if place != "":
        with pytest.raises((OutputError, ConfigError), match="cannot be written|is a file"):
            output.declare_folder(path, overwrite=True)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("p", [0.0, 1e-300, 1e-6, 0.00099, 0.001, 0.0123, 0.5, 1.0])
def test_no_p_is_said_to_be_nothing(p: float, capsys: pytest.CaptureFixture[str]) -> None:
    """By any column of chances; a number that is small, and none, is told as it is."""
    names = ("p", "position_p", "recall_p", "p_holm")
    told = "< 0.001" if p < 0.001 else f"{p:.3f}"
    output.show_values({name: p for name in names} | {"loss": 0.00001}, as_json=False)
    output.show_rows([{name: p for name in names} | {"loss": 0.00001}], (*names, "loss"))
    said = capsys.readouterr().out
    assert said.count(told) == 8
    assert ("0.0000" in said, "0.000" in said) == (True, True)  # the loss
    assert chance(p).replace("\u00a0", " ") == ("p < 0.001" if p < 0.001 else f"p = {p:.3f}")


FOLDERS = {  # what of its own makes a folder replaceable, and a command that writes it
    "build": ("manifest.json", ("build", *WORLD, "--out")),
    "data pool": ("manifest.json", ("data", "pool", "DATA")),
    "extend": ("config.json", ("extend", "miniature-llama", "--length", 256, "--out")),
    "eval": ("evaluation.json", ("eval", "--model", "miniature-llama", "--data", "DATA", "--out")),
    "ablate": (
        "tables",
        ("ablate", "--model", "miniature-llama", "--data", "DATA", "--heads", "0-0", "--out"),
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_of_others_in_a_folder_is_never_lost(name: str, tmp_path: Path) -> None:
    own, words = FOLDERS[name]
    data, out = tmp_path / "data", tmp_path / "out"
    passes("build", *WORLD, "--out", data)
    out.mkdir()
    (out / own).write_text("{}")
    (out / "notes.txt").write_text("mine")
    result = run(*(data if word == "DATA" else word for word in words), out, "--overwrite")
    assert result.exit_code in (1, 2)
    assert "holds notes.txt" in result.stderr
    assert (out / "notes.txt").read_text() == "mine"


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    passes("extend", "miniature-llama", "--length", 256, "--out", there)
    link.symlink_to(there)
    before = (there / "config.json").read_bytes()
    passes("extend", "miniature-llama", "--length", 512, "--out", link, "--overwrite")
    assert (there / "config.json").read_bytes() == before
    assert json.loads((link / "config.json").read_text())["max_position_embeddings"] == 512
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]
