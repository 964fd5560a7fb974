"""A command that is stopped or killed keeps the rows that are done; the same command then ends in the same bytes."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import fails, passes, run
from killed import command_killed, end_of
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.heads.scores import HeadScores
from haymaker.kept import Log
from haymaker.study import stages

REPEATS = (1, 4, 2, 4, 6)  # rows of four lengths, so four batches: one of two rows
COLOURS = ("red", "blue", "green", "grey", "pink")
SCORED = {"one": {(0, 0): 0.9, (0, 1): 0.5}, "two": {(0, 0): 0.8, (1, 2): 0.4}}  # heads of the two adapters


def own_row(number: int, repeats: int) -> dict[str, Any]:
    text = "The winner of the prize was told to come home . " * repeats
    gold = {"text": f"{text} The key of door {number} is {COLOURS[number]} .", "gold": True}
    return {
        "question": f"What is the key of door {number}?",
        "answers": [COLOURS[number]],
        "documents": [gold, {"text": text}],
    }


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, new_model: Callable[..., Any], tokenizer: PreTrainedTokenizerBase
) -> Path:
    """A model of 3 x 4 heads, five rows, two adapters and scores of their heads."""
    folder = tmp_path_factory.mktemp("kept")
    model = new_model()
    model.config.max_position_embeddings = 1024
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    lines = [json.dumps(own_row(number, repeats)) for number, repeats in enumerate(REPEATS)]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    rows = hm.read_examples(folder / "rows.jsonl")
    for seed, name in enumerate(("one", "two")):
        config = hm.TrainConfig(steps=1, batch=1, rate=0.05, rank=2, alpha=4.0, seed=seed)
        hm.train(hm.load_model(folder / "model"), rows[:1], config, folder / name, on_progress=lambda steps: None)
        values = np.zeros((1, 3, 4))
        for head, score in SCORED[name].items():
            values[0][head] = score
        HeadScores(values, ("e",), "copy", {"model": "m"}).save(folder / f"{name}.safetensors")
    return folder


COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "eval": ("out", ("eval",)),
    "eval, gold over foil": ("out", ("eval", "--metric", "gold_over_foil")),
    "heads": ("out.safetensors", ("heads", "--metric", "copy", "--metric", "mass")),
    "heads, own answers": ("out.safetensors", ("heads", "--own-answers")),
    "ablate": ("out", ("ablate", "--heads", "HOME/one.safetensors", "--k", "2", "--draws", "1")),
    "ablate, branches": ("out", ("ablate", "--heads", "0-1,2-3", "--draws", "1", "--scope", "last+decode")),
    "patch": ("out", ("patch", "--both")),
    "patch, two models": ("out", ("patch", "--two-models")),
    "causal-map": ("out.safetensors", ("causal-map",)),
    "causal-map, relayed": ("out.safetensors", ("causal-map", "--scope", "prompt")),
    "attribute": ("out.safetensors", ("attribute", "--adapter", "HOME/one", "--donor", "HOME/two")),
}  # fmt: skip
PATCH = (
    "--donor", "HOME/one", "--donor-heads", "HOME/one.safetensors", "--recipient", "HOME/two",
    "--heads", "HOME/two.safetensors", "--k", "2", "--draws", "1",
)  # fmt: skip
ANSWERS = ("eval", "ablate", "patch", "heads")


def words_of(name: str, home: Path, folder: Path) -> tuple[Any, ...]:
    out, words = COMMANDS[name]
    more = (*(PATCH if words[0] == "patch" else ()), *(("--new-tokens", "4") if words[0] in ANSWERS else ()))
    given = ("--model", home / "model", "--data", home / "rows.jsonl", "--out", folder / out)
    return (*(word.replace("HOME", str(home)) for word in (*words, *more)), *given)


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Has a function hear of how many rows a command has finished so far."""

    def install(hear: Callable[[int], None]) -> None:
        done = 0

        @contextmanager
        def bar(what: str, total: int, about: str = "") -> Iterator[Callable[[int], None]]:
            def advance(rows: int) -> None:
                nonlocal done
                done += rows
                hear(done)

            yield advance

        monkeypatch.setattr(stages, "bar", bar)

    return install


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Any]]:
    """Every row that is computed, in order."""
    found: list[tuple[Path, Any]] = []
    add = Log.add

    def watched(log: Log[Any], rows: Any, halved: bool) -> None:
        found.extend((log.path, key) for key in rows)
        add(log, rows, halved)

    monkeypatch.setattr(Log, "add", watched)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop_at(rows: int, how: Callable[[], Any]) -> Callable[[int], None]:
    def hear(done: int) -> None:
        if done >= rows:
            how()

    return hear


def broken_off() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stopped_command_goes_on_and_ends_in_the_same_bytes(
    name: str, home: Path, tmp_path: Path, progress: Any, computed: list[tuple[Path, Any]]
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    passes(*words_of(name, home, whole))
    of_whole = [key for _, key in computed]
    computed.clear()
    assert not any(path.name.startswith(".") for path in whole.iterdir())

    progress(stop_at(3, broken_off))
    fails(130, "give the same command again to go on", *words_of(name, home, stopped))
    first = len(computed)
    assert 0 < first < len(of_whole)
    assert not (stopped / COMMANDS[name][0]).exists()
    progress(lambda done: None)
    again = run(*words_of(name, home, stopped))
    assert again.exit_code == 0, again.output
    assert "were done before; going on behind them" in again.stderr
    assert [key for _, key in computed] == of_whole  # each once, in the same batches
    assert len(set(computed)) == len(computed)
    assert contents(stopped) == contents(whole)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "a scheduler's stop"])
def test_ctrl_c_is_answered_at_once_and_stops_behind_the_rows_in_hand(
    sent: signal.Signals, home: Path, tmp_path: Path, progress: Any, computed: list[tuple[Path, Any]]
) -> None:
    words = words_of("eval", home, tmp_path)
    progress(stop_at(1, lambda: signal.raise_signal(sent)))
    result = run(*words)
    assert result.exit_code == 130
    assert "stopping after the rows in hand; Ctrl-C again stops at once" in result.stderr
    told = "stopped with 1 of 5 rows done; they are kept in"
    assert told in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_while_the_model_loads_says_that_rows_are_kept(
    home: Path, tmp_path: Path, progress: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_of("eval", home, tmp_path)
    progress(stop_at(3, broken_off))
    fails(130, "stopped with 3 of 5", *words)
    kept = contents(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(stages, "model_of", lambda *_: broken_off())
        fails(130, "what was finished is kept, and the same command goes on", *words)
    assert contents(tmp_path) == kept
    progress(lambda done: None)
    assert "3 of 5 rows were done before" in run(*words).stderr


def test_overwrite_starts_anew_and_is_remembered(
    home: Path, tmp_path: Path, progress: Any, computed: list[tuple[Path, Any]]
) -> None:
    """A command that may replace an output, and is stopped, goes on without being asked again."""
    words = words_of("causal-map", home, tmp_path)
    passes(*words)
    fails(2, "exists; give another --out, or --overwrite", *words)
    progress(stop_at(2, broken_off))
    before = contents(tmp_path)
    fails(130, "stopped with 2 of 5 rows", *words, "--overwrite")
    assert before.items() <= contents(tmp_path).items()
    computed.clear()
    progress(stop_at(2, broken_off))
    fails(130, "stopped with 2 of 5 rows", *words, "--overwrite")
    assert len(computed) == 2  # anew
    progress(lambda done: None)
    passes(*words)
    assert len(computed) == 5
    assert contents(tmp_path) == before


def test_rows_of_other_inputs_are_replaced_and_it_is_said(
    home: Path, tmp_path: Path, progress: Any, computed: list[tuple[Path, Any]]
) -> None:
    words = words_of("eval", home, tmp_path)
    progress(stop_at(3, broken_off))
    fails(130, "stopped with 3 of 5", *words)
    progress(lambda done: None)
    computed.clear()
    others = {
        "another new_tokens": ("--new-tokens", 5),
        "another adapter": ("--adapter", home / "one"),
        "another dataset": ("--rows", 4),
        "another stop": ("--stop", "."),
        "another dtype": ("--dtype", "bfloat16"),
        "another extend": ("--extend", 2048),
    }
    kept = (tmp_path / ".out.partial").read_bytes()
    for told, more in others.items():
        (tmp_path / ".out.partial").write_bytes(kept)
        result = run(*words, *more)
        assert result.exit_code == 0, result.output
        assert told in result.stderr
        assert "they are replaced" in result.stderr
        assert len(computed) == (4 if "--rows" in more else 5)
        computed.clear()
        for path in (tmp_path / "out").iterdir():
            path.unlink()
        (tmp_path / "out").rmdir()


def test_answers_are_kept_whatever_judges_them(
    home: Path, tmp_path: Path, progress: Any, computed: list[tuple[Path, Any]]
) -> None:
    words = words_of("eval", home, tmp_path)
    progress(stop_at(3, broken_off))
    fails(130, "stopped with 3 of 5", *words)
    progress(lambda done: None)
    assert json.loads(passes(*words, "--metric", "squad_em", "--json"))["metric"] == "squad_em"
    assert len(computed) == 5


def test_a_killed_command_goes_on_and_ends_in_the_same_bytes(
    home: Path, tmp_path: Path, computed: list[tuple[Path, Any]]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    passes(*words_of("heads", home, whole))
    words = [str(word) for word in words_of("heads", home, killed)]
    assert end_of(command_killed, 3, torch.get_num_threads(), words) == -signal.SIGKILL
    with (killed / ".out.safetensors.partial").open("ab") as file:
        file.write(b'{"row": [2], "found": {"copy": {"dty')  # the next line, torn
    computed.clear()
    passes(*words)
    assert len(computed) == 2
    assert contents(killed) == contents(whole)
