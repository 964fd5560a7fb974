"""Every command crossed with bad inputs and outputs: one sentence, the right exit code, never a traceback."""

import builtins
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import typer.main
import yaml
from command_line import leaves, run
from real_rows import mdqa_row, write_jsonl

import haymaker as hm
from haymaker import __main__, registry
from haymaker.cli import app
from haymaker.commands import boundary
from haymaker.errors import ConfigError, DataError, HaymakerError, Interrupted
from haymaker.files import unwritable
from haymaker.heads.scores import HeadScores

MODEL = "miniature-llama"
Panic = type("PanicException", (BaseException,), {})  # as libraries in Rust raise it
STUDY = {
    **{"name": "small", "model": MODEL, "context": 128, "length": 256, "settings": ["real"]},
    "tasks": {"mdqa": {"train": {"rows": 1}, "test": {"rows": 1}}},
    **dict.fromkeys(("heads", "similarity", "ablation", "patching")),
}
# Words of every command; {name} is something it reads (see `Good`), {out} something that it writes.
USES = {
    "build": "--task mdqa --length 128 --rows 1 --source {rows} --config {recipe} --tokenizer {model} --out {out}",
    "validate": "{data} --tokenizer {model} --no-rebuild",
    "stats": "{data} --against {data}",
    "show": "{data} --html {out}",
    "export": "{data} --format openai --out {out}",
    "extend": "{model} --length 256 --out {out}",
    "data verify": "{data}",
    "data diff": "{data} {data}",
    "data overlap": "{data} {data}",
    "data pool": "{data} {out}",
    "data unpool": "{data} {out}",
    "write": "--task mdqa --source {rows} --config {writer} --recipe {recipe} --cache {cache} --out {out}",
    "cache stats": "{cache}",
    "cache export": "{cache} --out {out}",
    "cache import": "{out} {answers}",
    "train": "--model {model} --data {data} --config {training} --set steps=1 --out {out}",
    "eval": "--model {model} --data {data} --adapter {adapter} --out {out}",
    "eval --export-requests": "{out} --model {model} --data {data}",
    "eval --responses": "{responses} --model {model} --data {data} --out {out}",
    "score": "{predictions}",
    "heads": "--model {model} --data {data} --adapter {adapter} --out {out}",
    "compare": "{scores} {scores}",
    "attribute": "--model {model} --data {data} --donor {adapter} --out {out}",
    "causal-map": "--model {model} --data {data} --donor {adapter} --out {out}",
    "ablate": "--model {model} --data {data} --heads {scores} --adapter {adapter} --out {out}",
    "patch": "--model {model} --data {data} --donor {adapter} --recipient {adapter} --donor-heads {scores} "
    "--heads {scores} --out {out}",
    "recommend": "--model {model} --real {data} --candidate one={data} --candidate two={data} --config {training} "
    "--out {out}",
    "study plan": "{study} --out {out}",
    "study status": "{study} --out {out}",
    "study run": "{study} --out {out}",
    "study why": "{study} train/mdqa/real --out {out}",
    "study log": "{study} train/mdqa/real --out {out}",
    "study gc": "{study} --out {out}",
    "study verify": "{study} --out {out}",
    "report": "{results} --out {out}",
}
ASK_THE_NETWORK_OR_NOTHING = {"fetch", "doctor"}
READS_ONLY = {
    "study plan",
    "study status",
    "study why",
    "study log",
    "study gc",
    "study verify",
}  # their --out is where they look


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> dict[str, Any]:
    """Something right for every name in USES, as small as can be. The adapter is a stand-in that nothing loads."""
    home = tmp_path_factory.mktemp("good")
    data = hm.build(hm.Recipe(task="mdqa", length=128, rows=1), tokenizer).save(home / "data")
    HeadScores(np.ones((1, 4, 8)), ("row",), "copy").save(home / "scores.safetensors")
    (home / "recipe.yaml").write_text("seed: 1\n")
    (home / "training.yaml").write_text("batch: 1\n")
    (home / "writer.yaml").write_text("model: m\n")
    (home / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (home / "answers.jsonl").write_text("\n")
    assert run("cache", "import", home / "cache.sqlite", home / "answers.jsonl").exit_code == 0
    row = {"example_id": "1", "text": "a", "answers": ["a"], "scores": {}, "finish_reason": "stop"}
    write_jsonl(home / "predictions.jsonl", [row | {"prompt_tokens": 1, "generated_tokens": 1}])
    write_jsonl(home / "rows.jsonl", [mdqa_row(0)])
    body = {"model": MODEL, "choices": [{"text": "a", "finish_reason": "stop"}]}
    (asked,) = hm.load_dataset(data)
    write_jsonl(home / "responses.jsonl", [{"custom_id": asked.id, "response": {"body": body}}])
    (home / "results.json").write_text("{}")
    files = {path.stem: path for path in home.iterdir()}
    return files | {"data": data, "model": MODEL, "adapter": home / "adapter"}


# ---- bad inputs

Make = Callable[[Path], Any]
TEXTS = {
    "empty": b"",
    "blank lines": b"\n \n",
    "binary": bytes(range(256)) * 8,
    "not utf-8": "caf\u00e9: \u00e9".encode("latin-1"),
    "text": b"once upon a time\n",
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "NaN": b'{"a": NaN, "model": NaN, "tables": NaN, "0-0": [NaN]}',
    "Infinity": b'{"a": Infinity, "tables": [Infinity], "0-0": [Infinity, 1e999]}',
    "deep": b"[" * 100_000,
    "deep, in lines": b"[\n" * 50_000,
    "half": b'{"question": "wh',
    "a zip": b"PK\x03\x04" + bytes(100),
    "gzip cut off": b"\x1f\x8b\x08\x00" + bytes(9),
    "wrong types": b'{"name": [], "model": {}, "rows": "x", "tables": 3, "format": "haymaker-dataset/2"}',
    "a lone surrogate": b'{"question": "\\ud800", "answers": ["\\ud800"], "name": "\\ud800"}',
    "a cycle of yaml": b"a: &a [*a]",
    "a bomb of yaml": b"a: &a0 [1]\n"
    + b"\n".join(b"b%d: &a%d [%s]" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)),
    "utf-16 without a mark": '{"question": "x"}'.encode("utf-16-le"),
    "a python object": b"!!python/object/apply:os.system ['true']",
}


def missing(path: Path) -> None:
    pass


def below_a_file(path: Path) -> Path:
    path.write_text("")
    return path / "below"


def loop(path: Path) -> None:
    path.symlink_to(path)


def folder_of(content: bytes) -> Make:
    """A folder that bears the names of all that commands look for in one, all of this content."""

    def make(path: Path) -> None:
        path.mkdir()
        for name in ("manifest.json", "results.json", "predictions.jsonl", "adapter_config.json", "base.json",
                     "config.json", "tokenizer.json", "model.safetensors"):  # fmt: skip
            (path / name).write_bytes(content)

    return make


INPUTS: dict[str, Make] = {
    "missing": missing,
    "an empty folder": Path.mkdir,
    "below a file": below_a_file,
    "a link to itself": loop,
    "a long name": lambda path: path.with_name("x" * 300),
    "a name of bytes": lambda path: os.fsdecode(bytes(path) + b"\xff"),
    "a device": lambda path: Path("/dev/null"),
    "a device without an end": lambda path: Path("/dev/zero"),
    "a pipe": lambda path: os.mkfifo(path),
    **{name: lambda path, text=text: path.write_bytes(text) and None for name, text in TEXTS.items()},
    **{f"a folder of {name}": folder_of(TEXTS[name]) for name in ("empty", "binary", "NaN", "wrong types", "a list")},
}
OUTPUTS: dict[str, Make] = {
    "below a file": below_a_file,
    "no place": lambda path: Path("/proc/nowhere/out"),
    "a device": lambda path: Path("/dev/full"),
    "a link to itself": loop,
    "a long name": lambda path: path.with_name("x" * 300),
    "nothing": lambda path: "",
    "a file of others": lambda path: path.write_text("mine") and None,
    "a folder of others": lambda path: path.mkdir() or (path / "results.json").write_text("mine") and None,
}


def inputs_of(use: str) -> Iterator[str]:
    return (word.strip("{}") for word in dict.fromkeys(use.split()) if word.startswith("{") and word != "{out}")


HARMLESS = {
    "scores": ("a number",),
    "answers": ("blank lines",),
    "recipe": ("a device", "empty", "blank lines", "null"),
}
CASES = [(command, name) for command, use in USES.items() for name in inputs_of(use)]
IN_YAML = ("recipe", "writer", "training", "study")
OF_PLACES = (
    "missing",
    "an empty folder",
    "below a file",
    "a link to itself",
    "a long name",
    "a device",
    "a device without an end",
    "a pipe",
)


def kinds_for(command: str, name: str) -> list[str]:
    """What stands wrongly in a place is for every command; wrong contents are dealt among the commands that read such a
    file, as they read it by the same function: all kinds of them, each in two commands."""
    commands = [one for one, read in CASES if read == name]
    place = commands.index(command)
    slow = ("deep",) if name in IN_YAML else ()  # of every bracket it looks through the thousand behind it in the line
    contents = [kind for kind in INPUTS if kind not in (*OF_PLACES, *slow)]
    near = {place, (place + 1) % len(commands)}
    return [*OF_PLACES, *(kind for number, kind in enumerate(contents) if number % len(commands) in near)]


def fault(command: str, words: dict[str, Any], codes: tuple[int, ...] = (1, 2)) -> str:
    """What is wrong with how the command ends: in one sentence on stderr, and one of these exit codes."""
    result = run(*command.split(), *(str(words.get(word.strip("{}"), word)) for word in USES[command].split()))
    said = result.stderr.strip()
    if not isinstance(result.exception, SystemExit | None) or "Traceback" in result.output:
        return f"raised {result.exception!r}"
    if result.exit_code not in codes:
        return f"exit code {result.exit_code}: {said}"
    told = said.startswith("haymaker: ") and "\n" not in said and "did not foresee" not in said
    return "" if told or result.stdout or result.exit_code in (0, 3) else said


@pytest.mark.parametrize(("command", "name"), CASES, ids=lambda value: value)
def test_a_bad_input_is_one_sentence(command: str, name: str, good: dict[str, Any], tmp_path: Path) -> None:
    faults = {}
    for number, kind in enumerate(kinds_for(command, name)):
        path = tmp_path / f"in{number}"
        bad = INPUTS[kind](path)
        words = {**good, "out": tmp_path / f"out{number}.x", name: bad if bad is not None else path}
        codes = (0, 1, 2, 3) if kind in HARMLESS.get(name, ()) else (1, 2)
        faults[kind] = fault(command, words, codes)
    assert not any(faults.values()), "\n".join(f"{kind}: {said}" for kind, said in faults.items() if said)


@pytest.mark.parametrize("command", [command for command, use in USES.items() if "{out}" in use])
def test_a_bad_output_is_one_sentence_before_anything_runs(command: str, good: dict[str, Any], tmp_path: Path) -> None:
    faults = {}
    for number, (kind, make) in enumerate(OUTPUTS.items()):
        if (command, kind) == ("study run", "nothing"):  # it is the folder it runs in, which is one as others are
            continue
        path = tmp_path / f"out{number}"
        bad = make(path)
        words = {**good, "out": bad if bad is not None else path}
        faults[kind] = fault(command, words, (0, 1, 2) if command in READS_ONLY else (1, 2))
        if kind.endswith("of others"):
            assert [found.read_text() for found in (path, *path.glob("*")) if found.is_file()] == ["mine"], kind
    assert not any(faults.values()), "\n".join(f"{kind}: {said}" for kind, said in faults.items() if said)


@pytest.mark.parametrize("command", ["plan", "status", "run", "gc", "verify"])
@pytest.mark.parametrize("option", ["--out", "--store"])
def test_a_file_where_a_study_has_its_folder(command: str, option: str, good: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        result = run("study", command, good["study"], "--out", tmp_path / "out", option, place)
        assert (result.exit_code, f"{tmp_path / 'file'} is no folder; give --out" in result.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---- what nobody foresaw


def end(raises: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[int, str, list[str]]:
    """Exit code, what is said, and the files with tracebacks, where a command raises this."""

    def broken(folder: Path) -> None:
        raise raises

    import_module("haymaker.data.compare")  # which says of Folder what the other is not
    monkeypatch.setattr("haymaker.data.dataset.Folder", broken)
    monkeypatch.setattr(boundary.tempfile, "tempdir", str(tmp_path))
    result = run("data", "verify", tmp_path)
    return result.exit_code, result.output.strip(), [path.read_text() for path in tmp_path.glob("haymaker-*.txt")]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ZeroDivisionError("division\nby zero"),
            1,
            r"ZeroDivisionError: division by zero \(at .*\), which Haymaker did not",
        ),
        (Panic("slice index"), 1, r"PanicException: slice index \(at .*\), which Haymaker did not"),
        (MemoryError(), 1, "out of memory; give fewer or shorter rows"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), 1, "a: cannot be .* make room"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 1, "a: cannot be .* the right to use this one"),
        (unwritable(Path("a"), OSError(errno.EROFS, "Read-only file system")), 1, "a: cannot be written .*Read-only"),
        (DataError("row 3 is broken"), 1, "haymaker: row 3 is broken$"),
        (ConfigError("--k 0"), 2, "haymaker: --k 0$"),
        (Interrupted("stopped"), 130, "haymaker: stopped$"),
        (KeyboardInterrupt(), 130, "haymaker: interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_whatever_a_command_raises_is_one_sentence(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found, output, kept = end(error, monkeypatch, tmp_path)
    assert (found, "\n" in output, "Traceback" in output) == (code, False, False), output
    assert re.search(said, output), output
    foreseen = isinstance(error, HaymakerError | KeyboardInterrupt)
    assert [type(error).__name__ in text and "Traceback" in text for text in kept] == ([] if foreseen else [True])
    assert all(f"the traceback is in {path}" in output for path in tmp_path.glob("haymaker-*.txt"))


@pytest.mark.parametrize(
    ("error", "by_others"), [(Interrupted("stopped"), ""), (DataError("no disk"), "haymaker: no disk")]
)
def test_of_processes_that_stop_together_the_first_says_so_and_each_says_what_went_wrong_in_it(
    error: HaymakerError, by_others: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        code, output, _ = end(error, monkeypatch, tmp_path)
        assert (code, output) == (boundary.code_of(error), by_others if rank else f"haymaker: {error}")


def test_what_another_package_raises_is_told_as_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = compile("def broken(): raise KeyError('oops')", "/somewhere/toy_plug_in.py", "exec")
    theirs: dict[str, Any] = {"__name__": "toy_plug_in.inner"}
    exec(code, theirs)
    brought = ("haymaker.tasks", "toy", registry.Entry("toy_plug_in:TASK", "", "toys", "1.0"))
    monkeypatch.setattr(registry, "installed", lambda: (brought,))
    with pytest.raises(KeyError) as caught:
        theirs["broken"]()
    code, output, kept = end(caught.value, monkeypatch, tmp_path)
    assert (code, len(kept)) == (1, 1)
    assert "KeyError: 'oops' (at toy_plug_in.py:1), in what toys 1.0 brings; the traceback is in" in output


IN_AN_IMPORT = """
import haymaker.cli as cli
cli.app.command("wait")(lambda: exec("raise KeyboardInterrupt"))  # as where an import makes a named tuple
cli.app(["wait"])
"""


def test_ctrl_c_within_an_import_is_no_death_by_signal() -> None:
    ended = subprocess.run([sys.executable, "-c", IN_AN_IMPORT], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, f"haymaker: {boundary.STOPPED}\n")


@pytest.mark.parametrize(("name", "command"), list(leaves(typer.main.get_command(app))))
def test_an_empty_text_is_no_path_and_no_missing_option(
    name: str, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = [word for one in command.params for word in one.opts if word.startswith("--")]
    option = options[0]
    for words in ([option, ""], [f"{option}="]):
        result = run(*name.split(), *words)
        told = f"haymaker: {option}: an empty text; is a variable of the shell not set?"
        assert (result.exit_code, result.stderr.splitlines()) == (2, [told])
    assert not list(tmp_path.iterdir())


def test_an_empty_stop_means_something() -> None:
    assert "an empty text" not in run("eval", "--stop", "", "--stop=").output


BEFORE_IT_BEGAN = """
import signal, sys

class Importing:
    def find_spec(name, *more):
        if name == "haymaker.cli":
            exec(sys.argv[1])  # as where an import makes a named tuple

sys.meta_path.insert(0, Importing)
from haymaker.__main__ import main
main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_before_there_is_a_command_is_no_death_by_signal(number: str) -> None:
    words = [sys.executable, "-c", BEFORE_IT_BEGAN, f"signal.raise_signal(signal.{number})"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "haymaker: interrupted before it began\n")


AT_THE_END = """
import atexit, os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    atexit.register(os.kill, os.getpid(), number)  # while Python puts things away
sys.argv[1:] = ["--version"]
from haymaker.__main__ import main
main()
"""


def test_ctrl_c_behind_a_command_does_not_change_how_it_ended() -> None:
    ended = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"haymaker {hm.__version__}\n", "")


def test_ctrl_c_before_there_is_a_command_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def interrupted(name: str, *more: Any) -> Any:
        if name == "haymaker":
            raise KeyboardInterrupt
        return real(name, *more)

    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        monkeypatch.setattr(builtins, "__import__", interrupted)
        with pytest.raises(SystemExit, match="130"):
            __main__.main()
        monkeypatch.undo()
        monkeypatch.setattr("haymaker.cli.app", Mock(side_effect=KeyboardInterrupt))  # while the commands are made
        with pytest.raises(SystemExit, match="130"):
            __main__.main()
    finally:
        for one, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(one, handler)
    assert capsys.readouterr().err == "haymaker: interrupted before it began\n" * 2


def test_a_sentence_comes_also_where_no_file_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, output, _ = end(KeyError("x"), monkeypatch, tmp_path / "nowhere")
    assert (code, "no file, as none can be written (No such file or directory)" in output) == (1, True)


def test_a_lone_surrogate_is_written_as_an_escape(capsys: pytest.CaptureFixture[str]) -> None:
    from haymaker.commands.output import show_json

    boundary.write_what_cannot_be_encoded()
    show_json({"text": "\ud800"})
    assert json.loads(capsys.readouterr().out) == {"text": "\ud800"}


# ---- the table


def names_of(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        yield from names_of(command, f"{before}{name} ") if hasattr(command, "commands") else [before + name]


def test_the_table_has_every_command() -> None:
    used = {use.partition(" --")[0] for use in USES}  # some have a second use, told by an option
    assert set(names_of(typer.main.get_command(app))) == used | ASK_THE_NETWORK_OR_NOTHING
