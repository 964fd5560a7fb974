"""Stages without a model, in a module that every process can import."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from haymaker.config import Frozen
from haymaker.study import Plan, StudyConfig
from haymaker.study.cell import Cell, Stage, Tables


class Toy(Frozen):
    """Parameters: a value, seconds to take, and files that say what the stage shall do."""

    value: int = 0
    seconds: float = 0.0
    record: str = ""  # a file that every call adds a line to: value, process
    once: str = ""  # a file: the first call makes it, and then kills its own process


def work(params: Toy, inputs: Mapping[str, Path], output: Path) -> None:
    if params.record:
        with open(params.record, "a") as record:
            record.write(f"{params.value} {os.getpid()}\n")
    print(f"value {params.value}", flush=True)
    if params.once and not Path(params.once).exists():
        Path(params.once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(params.seconds)
    total = params.value + sum(int((path / "value.txt").read_text()) for path in inputs.values() if path.is_dir())
    (output / "value.txt").write_text(str(total))


def fail(params: Toy, inputs: Mapping[str, Path], output: Path) -> None:
    raise ValueError("the stage broke")


def panic(params: Toy, inputs: Mapping[str, Path], output: Path) -> None:
    raise type("PanicException", (BaseException,), {})("the stage broke")  # as libraries in Rust do


def use_memory(params: Toy, inputs: Mapping[str, Path], output: Path) -> None:
    raise MemoryError


def save_state(params: Toy, inputs: Mapping[str, Path], output: Path) -> None:
    """A stage that is stopped in the middle, saves what it has, and goes on from there."""
    state = output / "value.txt"
    if not state.exists():
        Path(params.record).touch()
        try:
            time.sleep(60)
        finally:
            state.write_text("half")
    state.write_text(f"went on from {state.read_text()}")


def learn(params: Toy, inputs: Mapping[str, Path], output: Path) -> None:
    """A stage of `value` steps that saves its state after each, and goes on from there."""
    state = output / "steps.txt"
    done = state.read_text().split() if state.exists() else []
    for step in range(len(done), params.value):
        time.sleep(params.seconds)
        done.append(str(step))
        scratch = output / "steps.scratch"
        scratch.write_text(" ".join(done))
        scratch.replace(state)
    (output / "value.txt").write_text(str(sum(map(int, done))))


def score(params: Toy, inputs: Mapping[str, Path], output: Path) -> Tables:
    """A row of scores that follows from what it reads."""
    work(params, inputs, output)
    row = {"n": 4, "metric": "squad_f1", "score_low": 0.0, "score_high": 1.0, "cut_off": 0}
    return {"evaluation": [row | {"score": int((output / "value.txt").read_text()) % 97 / 97}]}


WORK = Stage("work", Toy, work)
LEARN = Stage("learn", Toy, learn, resumable=True)
SCORE = Stage("evaluate", Toy, score)
FAIL = Stage("fail", Toy, fail)
PANIC = Stage("panic", Toy, panic)
MEMORY = Stage("memory", Toy, use_memory)
STATE = Stage("state", Toy, save_state, resumable=True)


def ladder(rungs: int, seconds: float = 0.0, record: str = "") -> Plan:
    """Pairs of cells, of which the second reads the first; and one that reads all."""
    cells = []
    for i in range(rungs):
        cells.append(Cell(f"first/{i}", WORK, Toy(value=i, seconds=seconds, record=record)))
        inputs = {"source": f"first/{i}"}
        cells.append(Cell(f"second/{i}", WORK, Toy(value=100 + i, seconds=seconds, record=record), inputs))
    cells.append(Cell("sum", WORK, Toy(value=1000, record=record), {f"i{i}": f"second/{i}" for i in range(rungs)}))
    return Plan.of("ladder", cells)


def toy_study(config: StudyConfig) -> Plan:
    """A study's shape without a model: rows, a training that saves its state, and two measures of each setting."""
    cells = []
    for i, setting in enumerate(config.settings):
        about = {"model": config.model, "task": "mdqa", "setting": setting, "seed": 0}
        whole = {**about, "split": "test", "length": config.length}
        cells.append(Cell(f"data/{setting}", WORK, Toy(value=i, seconds=0.3)))
        cells.append(
            Cell(f"train/{setting}", LEARN, Toy(value=4, seconds=0.05), {"data": f"data/{setting}"}, columns=about)
        )
        adapter = {"adapter": f"train/{setting}"}
        cells.append(Cell(f"evaluate/{setting}", SCORE, Toy(value=10 + i, seconds=0.3), adapter, columns=whole))
        cells.append(Cell(f"heads/{setting}", WORK, Toy(value=20 + i, seconds=0.3), adapter, columns=about))
    inputs = {setting: f"heads/{setting}" for setting in config.settings}
    return Plan.of(config.name, [*cells, Cell("sum", WORK, Toy(value=100), inputs)])
