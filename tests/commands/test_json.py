"""Every command with --json: stdout holds one JSON object, whatever else is said, and also where nothing came out."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from command_line import leaves, run
from real_rows import mdqa_row, write_jsonl
from report_rows import results
from typer.main import get_command

import haymaker as hm
from haymaker import console
from haymaker.cli import app
from haymaker.commands.output import one_object, shared_by, show_error, show_json

MODEL = "miniature-llama"
STUDY = {
    **{"name": "small", "model": MODEL, "context": 128, "length": 256, "settings": ["real"]},
    "tasks": {"mdqa": {"train": {"rows": 1}, "test": {"rows": 1}}},
    **dict.fromkeys(("heads", "similarity", "ablation", "patching")),
}
COMMANDS = [name for name, _ in leaves(get_command(app))]
# Every command that ends well, in this order: what one writes the next ones read. @x is a path of one folder.
WORDS = {
    "doctor": "",
    "build": "--task mdqa --length 128 --rows 8 --out @data",
    "build, in thought": "--task mdqa --length 128 --rows 1 --dry-run",
    "validate": "@data --no-rebuild",
    "stats": "@data",
    "show": "@data",
    "show, a page": "@data --html @page",
    "export": "@data --format openai --out @exported.jsonl",
    "data verify": "@data",
    "data diff": "@data @data",
    "data overlap": "@data @data",
    "data pool": "@data @pooled",
    "data unpool": "@pooled @unpooled",
    "write": "--task mdqa --source @rows.jsonl --set model=m --dry-run",
    "cache import": "@cache @answers",
    "cache stats": "@cache",
    "cache export": "@cache --out @written",
    "extend": "miniature-llama --length 256 --out @longer",
    "train, in thought": "--model miniature-llama --data @data --dry-run",
    "train": "--model miniature-llama --data @data --set steps=1 --set batch=1 --out @adapter",
    "eval": "--model miniature-llama --data @data --rows 1 --new-tokens 4 --out @evaluated",
    "eval, asked for": "--model miniature-llama --data @data --rows 1 --new-tokens 4 --export-requests @requests.jsonl",
    "score": "@evaluated --by depth",
    "heads": "--model miniature-llama --data @data --rows 1 --out @scores.safetensors",
    "heads, two metrics": "--model miniature-llama --data @data --rows 1 --metric copy --metric mass "
    "--out @two.safetensors",
    "compare": "@scores.safetensors @scores.safetensors",
    "attribute": "--model miniature-llama --data @data --rows 1 --out @attributed.safetensors --plot @attributed.svg",
    "causal-map": "--model miniature-llama --data @data --rows 1 --out @map.safetensors --plot @map.svg",
    "ablate": "--model miniature-llama --data @data --rows 1 --new-tokens 4 "
    "--heads @scores.safetensors --k 1 --draws 1 --out @ablated",
    "patch": "--model miniature-llama --data @data --rows 1 --new-tokens 4 --donor @adapter --recipient @adapter "
    "--donor-heads @scores.safetensors --heads @scores.safetensors --k 1 --draws 1 --out @patched",
    "recommend": "--model miniature-llama --real @data --real-rows 8 --rows 2 --candidate one=@data "
    "--candidate two=@data --no-answers "
    "--set steps=1 --set batch=1 --out @ranking.csv",
    "study plan": "@study --out @run",
    "study run, in thought": "@study --out @run --dry-run",
    "study run": "@study --out @run --only data/* --no-report --runner serial",
    "study status": "@study --out @run",
    "study why": "@study data/mdqa/real --out @run",
    "study log": "@study data/mdqa/real --out @run",
    "study verify": "@study --out @run",
    "study gc": "@study --out @run",
    "report": "@results.json --out @drawn",
}
ROWS = {  # the name under which a command's rows stand, and what stands beside them
    "heads, two metrics": ("scores", "model", "device", "dtype"),
    "ablate": ("ablation", "model", "device", "dtype", "out"),
    "patch": ("patching", "model", "device", "dtype", "out"),
    "recommend": ("ranking", "model", "device", "dtype", "by"),
    "study plan": ("cells", "study", "model", "device"),
    "study run, in thought": ("cells", "study", "model", "device"),
}
SAYS_NO = {"study log": 2}  # a serial run keeps no log
AT_ONCE = {  # what walks over no rows, files or answers of a number that a user may make large
    "doctor", "build, in thought", "show", "show, a page", "cache stats", "cache import", "cache export", "compare",
    "study plan", "study run, in thought", "study status", "study why", "study log", "study gc", "report",
}  # fmt: skip
IN_LINES = {"train, in thought", "eval, asked for"}  # what encodes rows, and computes nothing


class Watched(console.Lines):
    """All progress that a command tells of."""

    seen: ClassVar[list["Watched"]] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen.append(self)

    @property
    def whole(self) -> bool:
        return self.done == self.total > 0

    @property
    def is_bar(self) -> bool:
        return self.seconds != console.CALL_SECONDS


@pytest.fixture(scope="module")
def progress() -> dict[str, list[Watched]]:
    """What every use told of its progress."""
    return {}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, progress: dict[str, list[Watched]]) -> dict[str, tuple[int, str]]:
    """Exit code and stdout of every use."""
    home = tmp_path_factory.mktemp("json")
    (home / "study").write_text(yaml.safe_dump(STUDY))
    (home / "answers").write_text("\n")
    (home / "results.json").write_text(json.dumps(results()))
    write_jsonl(home / "rows.jsonl", [mdqa_row(0)])
    found = {}
    for name, words in WORDS.items():
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(console, "Lines", Watched)
            patched.setattr(Watched, "seen", [])
            result = run(*name.partition(",")[0].split(), *words.replace("@", f"{home}/").split(), "--json")
            progress[name] = Watched.seen
        found[name] = (result.exit_code, result.stdout)
    return found


def object_of(text: str) -> dict[str, Any]:
    """The one object of a text; what stands before or behind it is an error."""
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("name", WORDS)
def test_stdout_is_one_object(name: str, said: dict[str, tuple[int, str]]) -> None:
    code, text = said[name]
    assert code == SAYS_NO.get(name, 0), text
    assert ("error" in object_of(text)) == (code != 0)


@pytest.mark.parametrize("name", sorted(set(WORDS) - AT_ONCE))
def test_what_walks_over_rows_tells_of_all_of_them(
    name: str, said: dict[str, tuple[int, str]], progress: dict[str, list[Watched]]
) -> None:
    assert said[name][0] == 0
    assert any(one.whole and (one.is_bar or name in IN_LINES) for one in progress[name])
    devices = [one.about for one in progress[name] if one.is_bar]
    assert not any("--model" in WORDS[name] and " on cpu" not in about for about in devices)


@pytest.mark.parametrize("name", ROWS)
def test_rows_stand_under_a_name_with_what_they_share(name: str, said: dict[str, tuple[int, str]]) -> None:
    found, (rows, *beside) = object_of(said[name][1]), ROWS[name]
    assert found[rows]
    assert all(isinstance(row, dict) for row in found[rows])
    assert all(found[key] is not None for key in beside)
    assert found["versions"]["haymaker"] == hm.__version__


def test_every_command_is_among_them() -> None:
    tried = {name.partition(",")[0] for name in WORDS}
    assert set(COMMANDS) == tried | {"fetch"}  # which asks the network


@pytest.mark.parametrize("name", COMMANDS)
def test_an_error_is_one_object_too(name: str) -> None:
    for words in ([*name.split(), "--json", "--no-such-option"], [*name.split(), "nowhere", "--nothing=1", "--json"]):
        result = run(*words)
        told = object_of(result.stdout)
        assert (told["exit_code"], result.exit_code) == (2, 2)
        assert told["error"]
        assert result.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("stats {home}/nowhere", 1, "nowhere"),
        ("build --task nothing --length 128 --rows 1 --out {home}/d", 2, "no task 'nothing'"),
        ("compare {home}/broken {home}/broken", 1, "broken"),
        ("no-such-command", 2, "No such command"),
    ],
)
def test_the_object_says_what_stderr_says(words: str, code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{")
    result = run(*words.format(home=tmp_path).split(), "--json")
    told = object_of(result.stdout)
    assert (told["exit_code"], result.exit_code) == (code, code)
    assert message in told["error"]
    assert " ".join(told["error"].split()[:3]) in " ".join(result.stderr.split())


def test_whatever_is_printed_meanwhile_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with one_object(True):
        print("a library speaks")
        show_json({"a": 1})
        print("and goes on")
        show_error("too late", 1)
    assert capsys.readouterr() == ('{\n "a": 1\n}\n', "a library speaks\nand goes on\n")
    with one_object(False):
        print("a line")
        show_error("for people", 1)
    assert capsys.readouterr().out == "a line\n"


def test_only_what_all_rows_have_is_shared() -> None:
    rows = [{"n": 3, "k": 1, "device": "cpu"}, {"n": 3, "k": 2}]
    assert shared_by(rows, ("n", "k", "device", "dtype")) == {"n": 3}
    assert shared_by([], ("n",)) == {}
