"""What every cell of a study will take: rows, tokens, seconds, memory and storage, before anything runs. No torch.

Operations and bytes are counted as `training.cost` and `training.budget` count them, for the device at hand or another;
where cells of a stage are finished, what they took corrects the others of it.
"""

import math
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from haymaker.models.batching import LONG
from haymaker.processes import free_memory
from haymaker.study.cell import Cell
from haymaker.study.machines import Machine, shape_for
from haymaker.study.plan import Plan
from haymaker.study.runners.work import Request
from haymaker.study.survey import Standing
from haymaker.training.budget import STATE_BYTES, USABLE, Largest, peak_bytes, rungs_of
from haymaker.training.cost import cost_of_row, together_seconds

BUILD_TOKENS = 0.35e6  # that a core builds in a second (benchmarks/results/data_speed.md)
ROW_BYTES = 2.2  # of a built row, for each token, compressed
LOAD_BYTES = 1.5e9  # of weights that are loaded in a second
CELL_SECONDS = 2.0  # to start a cell, read its rows and write what it made
ANSWER_TOKENS = 32  # where a study leaves their number to the rows
ANSWERS_TOGETHER = 16  # on a GPU, of prompts that may be padded; memory may allow more
PREDICTION_BYTES = 2_000  # of an answer's row
MODEL_STAGES = ("train", "evaluate", "heads", "ablate", "patch", "parts")
WITH_DONOR = ("patch", "parts")
OF_TWO_MODELS = ("parts",)  # a patch has both adapters on one base
TEACHER_FORCED = ("heads", "parts")
PARTS_READINGS = 5  # of a row: each model, each on the other's inputs, and the recipient once more to answer
BRANCHES = 2  # of a patched answer: the donor's layers beside the recipient's
MARGIN = 3.0  # times the predicted seconds, for a time limit
LEAST_MINUTES = 15.0
WORKER_BYTES = 2 * 2**30  # of a process beside its model


@dataclass(frozen=True)
class Prediction:
    """What a cell takes. None: not known, as the model's sizes are not."""

    rows: int
    tokens: int
    seconds: float | None
    peak_bytes: int | None
    stored_bytes: int
    uses_model: bool


# ---- cells


class Costs:
    """Predictions for the cells of a plan on a machine."""

    def __init__(self, plan: Plan, model: str, machine: Machine, rank: int = 8) -> None:
        self.plan, self.machine = plan, machine
        self.shape = shape_for(model, rank, machine.element)

    def of(self, cell: Cell) -> Prediction:
        """What one cell takes."""
        rows, length = self.rows_read(cell)
        read, seconds = self.work(cell, rows, length)
        known = cell.stage.name not in MODEL_STAGES or self.shape is not None
        return Prediction(
            rows=rows,
            tokens=read,
            seconds=CELL_SECONDS + seconds if known else None,
            peak_bytes=self.peak(cell, length) if known else None,
            stored_bytes=self.stored(cell, rows, length),
            uses_model=cell.stage.name in MODEL_STAGES,
        )

    def rows_read(self, cell: Cell) -> tuple[int, int]:
        """How many rows a cell reads or makes, and tokens of each."""
        source = self.plan.cells.get(cell.inputs.get("data", ""), cell)
        rows, length = (getattr(source.params, key, 0) or 0 for key in ("rows", "length"))
        chosen = getattr(cell.params, "rows", None)
        return (min(rows, chosen) if chosen else rows), length

    def work(self, cell: Cell, rows: int, length: int) -> tuple[int, float]:
        """Tokens that a cell passes through the model or writes, and seconds."""
        if cell.stage.name == "data":
            return rows * length, rows * length / BUILD_TOKENS
        if cell.stage.name not in MODEL_STAGES:
            return 0, 0.0
        if cell.stage.name == "train":
            train = cell.params.train  # type: ignore[attr-defined] - of TrainParams
            passes = train.steps * train.batch
            tracked = self.tracked_rows(train)
            read, learned = tracked * self.reading_seconds(length), passes * self.row_seconds(length, train)
            return (passes + tracked) * length, self.loading() + read + learned
        passes = rows * self.readings(cell)
        answer = 0 if cell.stage.name in TEACHER_FORCED else getattr(cell.params, "new_tokens", None) or ANSWER_TOKENS
        together = self.together(length) if answer else 1  # heads are read a row at a time
        each = self.reading_seconds(length, together) + self.answer_seconds(length, answer)
        if cell.stage.name == "patch":
            each *= BRANCHES
        return passes * (length + answer), self.loading() + passes * each

    def readings(self, cell: Cell) -> int:
        """How often a cell reads each of its rows."""
        params: Any = cell.params
        if cell.stage.name == "ablate":
            return 1 + len(params.k) * (1 + params.draws)
        if cell.stage.name == "patch":
            return 2 if params.identity else 3 + params.draws  # more where one set is larger, which only scores tell
        return PARTS_READINGS if cell.stage.name == "parts" else 1

    def tracked_rows(self, train: Any) -> int:
        """Rows on which heads are read while a model is trained: at first, and every so many steps."""
        return 0 if train.track is None else train.track.rows * (1 + math.ceil(train.steps / train.track.every))

    def row_seconds(self, length: int, train: Any = None) -> float:
        """A training step's share of one row, alone or among those that go together."""
        if self.shape is None:
            return 0.0
        free = USABLE * (self.machine.device.memory or free_memory())
        recompute = "auto" if train is None else train.recompute
        rungs = rungs_of(recompute, self.shape, length, free, self.largest(length))
        rows = 1
        if train is not None and self.machine.gpu and length < train.packed_below:
            rows = max(1, min(train.batch, train.tokens_at_once // length))
        costs = [cost_of_row(self.shape, length, ANSWER_TOKENS, rungs)] * rows
        return together_seconds(costs, self.shape.layers, self.machine.device, self.machine.gpu) / rows

    def largest(self, length: int) -> Largest:
        """Of a training cell, whose rows are taken one at a time here."""
        return Largest(ANSWER_TOKENS, None if self.machine.gpu else length)

    def reading_seconds(self, length: int, together: int = 1) -> float:
        """One forward pass over a row, whose launches `together` rows share on a GPU."""
        shape, device = self.shape, self.machine.device
        if shape is None:
            return 0.0
        products = 2.0 * shape.layers * shape.layer_weights * length / device.products
        computed = products + 2.0 * shape.layers * shape.query * length**2 / device.attention
        launched = shape.layers * self.machine.layer_seconds / together if self.machine.gpu else 0.0
        return max(computed, launched)

    def together(self, length: int) -> int:
        """How many prompts of this length are read and answered at a time."""
        return ANSWERS_TOGETHER if self.machine.gpu and length <= LONG else 1

    def answer_seconds(self, length: int, tokens: int) -> float:
        """An answer, token by token: weights and cache are read anew for each.

        Where launches take the time, as of a small model on a GPU, answers that are decoded together share it.
        """
        shape, device = self.shape, self.machine.device
        if shape is None:
            return 0.0
        cache = 2 * shape.layers * shape.key_value * shape.element * length
        moved = (shape.base_bytes + cache) / device.bandwidth
        return tokens * max(moved, shape.layers * self.machine.layer_seconds / self.together(length))

    def loading(self) -> float:
        return (self.shape.base_bytes if self.shape else 0) / LOAD_BYTES

    def peak(self, cell: Cell, length: int) -> int:
        """The most bytes of a device that a cell takes."""
        shape = self.shape
        if shape is None or cell.stage.name not in MODEL_STAGES:
            return 0
        if cell.stage.name == "train":
            free = USABLE * (self.machine.device.memory or free_memory())
            largest = self.largest(length)
            params: Any = cell.params
            rungs = rungs_of(params.train.recompute, shape, length, free, largest)
            return peak_bytes(shape, length, rungs, largest=largest)
        cache = 2 * shape.layers * shape.key_value * shape.element * length
        passing = shape.element * length * (4 * shape.hidden + 2 * shape.inner)
        rows = 2 if cell.stage.name in WITH_DONOR else 1  # a donor reads beside the recipient
        models = 2 if cell.stage.name in OF_TWO_MODELS else 1
        return models * shape.base_bytes + rows * (cache + passing)

    def stored(self, cell: Cell, rows: int, length: int) -> int:
        """Bytes that a finished cell leaves."""
        if cell.stage.name == "data":
            return int(rows * length * ROW_BYTES)
        if cell.stage.name == "train":
            return STATE_BYTES * (self.shape.adapter if self.shape else 0) // 4
        heads = self.shape.layers * self.shape.heads if self.shape else 0
        return rows * (4 * heads if cell.stage.name == "heads" else PREDICTION_BYTES)


# ---- what finished cells teach, and what follows for the rest


def predictions(costs: Costs, standings: Mapping[str, Standing]) -> dict[str, Prediction]:
    """A prediction for every cell, its seconds corrected by what finished cells took where it will be made.

    Those of the same stage correct it; where there are none, and it has a model in it, those of all such stages.
    """
    found = {name: costs.of(standing.cell) for name, standing in standings.items()}
    ratios: dict[str, list[float]] = defaultdict(list)
    for name, standing in standings.items():
        stage, expected = standing.cell.stage.name, found[name].seconds
        if standing.state == "done" and standing.manifest and expected and made_there(standing.manifest, costs.machine):
            ratios[stage].append(standing.manifest["seconds"] / expected)
    with_model = [ratio for stage in MODEL_STAGES for ratio in ratios.get(stage, ())]
    for name, standing in standings.items():
        stage, seconds = standing.cell.stage.name, found[name].seconds
        told = ratios.get(stage) or (with_model if stage in MODEL_STAGES else [])
        if told and seconds is not None:
            found[name] = replace(found[name], seconds=seconds * median(told))
    return found


def made_there(manifest: Mapping[str, Any], machine: Machine) -> bool:
    """Whether a cell was made where the others will be: on this very machine, or elsewhere if it is another one."""
    return (manifest.get("host") == platform.node()) == machine.here


def requests(found: Mapping[str, Prediction], plan: Plan, gpu: bool) -> dict[str, Request]:
    """What each cell of a plan asks of a machine."""
    ranks: dict[str, float] = dict.fromkeys(plan.cells, 0.0)
    for cell in reversed(list(plan.cells.values())):
        ranks[cell.name] += found[cell.name].seconds or 0.0
        for source in cell.inputs.values():
            ranks[source] = max(ranks[source], ranks[cell.name])
    return {name: request_of(found[name], ranks[name], gpu) for name in plan.cells}


def request_of(prediction: Prediction, rank: float, gpu: bool) -> Request:
    peak = prediction.peak_bytes or 0
    seconds = prediction.seconds
    return Request(
        gpus=1.0 if gpu and prediction.uses_model else 0.0,
        memory_bytes=WORKER_BYTES + peak,  # weights pass through the machine's memory on their way to a GPU
        minutes=None if seconds is None else max(LEAST_MINUTES, MARGIN * seconds / 60),
        rank=rank,
    )


def fitting(names: Iterable[str], found: Mapping[str, Prediction], plan: Plan, hours: float) -> list[str]:
    """The first of these cells, with all that they read among them, that take no more than `hours` together."""
    chosen: list[str] = []
    left, asked = 3600 * hours, list(names)
    for name in asked:
        needs = [source for source in plan.cells[name].inputs.values() if source in asked and source not in chosen]
        seconds = found[name].seconds or 0.0
        if not needs and seconds <= left:
            left -= seconds
            chosen.append(name)
    return chosen
