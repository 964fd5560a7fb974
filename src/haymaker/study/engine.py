"""Runs a plan: every cell once, as soon as what it reads is there; a failed one blocks only what reads it."""

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Protocol, runtime_checkable

from haymaker.console import note
from haymaker.errors import ConfigError, Interrupted, StudyError
from haymaker.files import check_writable, naming
from haymaker.study.plan import Plan
from haymaker.study.runners import Outcome, Runner, SerialRunner, Work
from haymaker.study.runners.work import Stoppable, failure_of
from haymaker.study.store import Store
from haymaker.study.survey import Standing, Survey, dated_ahead_of

POLL_SECONDS = 0.5
RETRIES = 2  # of a cell whose process or machine was lost


@runtime_checkable
class Listener(Protocol):
    """Hears of every cell that is handed to the runner, and that ends."""

    def started(self, cell: str) -> None: ...

    def ended(self, cell: str, outcome: Outcome) -> None: ...


@runtime_checkable
class Watcher(Protocol):
    """A listener that hears now and then of all cells that are with the runner."""

    def waiting(self, cells: Mapping[str, str]) -> None:
        """The keys of the cells that the runner has, by name; called several times a second."""
        ...


@dataclass
class Summary:
    """What a run did with every cell, by name."""

    ran: dict[str, float] = field(default_factory=dict)  # seconds
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # message
    blocked: dict[str, str] = field(default_factory=dict)  # the failed cells it would read from

    @property
    def complete(self) -> bool:
        return not self.failed and not self.blocked


def execute(
    plan: Plan,
    store: Store,
    runner: Runner | None = None,
    listener: Listener | None = None,
    *,
    retries: int = RETRIES,
) -> Summary:
    """Make every cell of the plan that the store lacks. Failures are in the summary, not raised.

    A cell is tried `retries` times more where the process that made it was lost. Raises ConfigError before anything
    runs where a model or file is not on this machine, Interrupted on Ctrl-C; the runner is stopped at the end.
    """
    return Execution(plan, store, runner or SerialRunner(), listener, retries).run()


class Execution:
    """One pass over a plan."""

    def __init__(self, plan: Plan, store: Store, runner: Runner, listener: Listener | None, retries: int) -> None:
        self.plan, self.store, self.runner, self.listener = plan, store, runner, listener
        self.retries, self.losses = retries, Counter[str]()
        self.survey = Survey(plan, store)
        self.sorter = TopologicalSorter({cell.name: set(cell.inputs.values()) for cell in plan.cells.values()})
        self.order = {name: i for i, name in enumerate(plan.cells)}
        self.ready: list[str] = []
        self.busy: list[str] = []  # made by another runner
        self.flying: dict[Future[Outcome], str] = {}
        self.pieces = Counter[str]()  # of cells that are made in pieces: those that are under way
        self.summary = Summary()
        self.verified: set[str] = set()  # keys of outputs whose bytes this run has compared
        self.failures_before = store.failed_at()

    def run(self) -> Summary:
        with naming(self.store.root, self.store.root):
            self.store.root.mkdir(parents=True, exist_ok=True)
        self.store.check_places()
        check_outside(self.survey)
        for told in dated_ahead_of(self.survey):
            note(f"{told}; it holds nothing up", style="yellow")
        finished = all(standing.state == "done" for standing in self.survey.standings.values())
        if not finished:
            check_writable(self.store.root / "cells")
        with suppress(OSError) if finished else nullcontext():  # it may lie on a read-only disk
            self.store.sweep()
        self.sorter.prepare()
        try:
            while self.work_left():
                self.step()
        except (KeyboardInterrupt, Interrupted):
            finished = len(self.summary.ran) + len(self.summary.kept)
            raise Interrupted(
                f"interrupted with {finished} of {len(self.plan.cells)} cells finished; the same command goes on"
            ) from None
        finally:
            if isinstance(self.runner, Stoppable):
                self.runner.stop()
            self.record_plan()
        self.block()
        return self.summary

    def record_plan(self) -> None:
        """Remember the keys of this run's cells; those of the study's other cells stay as they were."""
        others = self.store.planned(self.plan.study) if self.plan.part else {}
        self.store.record_plan(self.plan.study, {**others, **self.survey.keys()})

    def work_left(self) -> bool:
        self.ready = sorted([*self.ready, *self.sorter.get_ready()], key=lambda name: self.order[name])
        return bool(self.ready or self.busy or self.flying)

    def step(self) -> None:
        """Start one cell, else wait for one to end."""
        if self.ready and len(self.flying) < self.runner.slots:
            self.begin(self.ready.pop(0))
        elif self.flying:
            ended, _ = wait(self.flying, POLL_SECONDS, FIRST_COMPLETED)
            for future in ended:
                self.land(self.flying.pop(future), future.result())
            self.watch(not ended)
        else:
            time.sleep(POLL_SECONDS)
            self.watch(True)

    def watch(self, look_again: bool) -> None:
        """Tell what is under way; what another runner had may be free by now."""
        if isinstance(self.listener, Watcher):
            names = (*self.flying.values(), *self.busy)
            self.listener.waiting({name: str(self.survey.standings[name].key) for name in names})
        if look_again:
            self.ready, self.busy = [*self.ready, *self.busy], []

    def begin(self, name: str) -> None:
        standing = self.survey.look(name)
        if wrong := self.broken(standing):
            self.summary.failed[name] = wrong
        elif standing.state == "done":
            self.summary.kept.append(name)
            self.sorter.done(name)
        elif standing.state == "running":
            self.busy.append(name)
        elif self.failed_meanwhile(standing):
            self.summary.failed[name] = standing.note
        else:
            if self.listener:
                self.listener.started(name)
            self.hand_over(name, self.work(standing))

    def hand_over(self, name: str, work: Work) -> None:
        """Give a cell to the runner: in pieces, where it has some and the runner takes so many at a time."""
        divides = work.cell.stage.pieces
        count = divides.count(work.cell.params) if divides else 1
        if 1 < count <= self.runner.slots - len(self.flying):
            self.pieces[name] = count
            for number in range(count):
                self.flying[self.runner.submit(replace(work, piece=(number, count)))] = name
        else:
            self.flying[self.runner.submit(work)] = name

    def land(self, name: str, outcome: Outcome) -> None:
        """What the runner had is back. After its last piece a cell goes there whole, and makes what a piece has not."""
        if name not in self.pieces:
            self.end(name, outcome)
            return
        if outcome.status == "stopped":
            raise Interrupted(outcome.message)
        self.pieces[name] -= 1
        if not self.pieces[name]:
            del self.pieces[name]
            self.flying[self.runner.submit(self.work(self.survey.standings[name]))] = name

    def work(self, standing: Standing) -> Work:
        assert standing.key is not None
        assert standing.action is not None
        paths = self.survey.paths(standing.cell)
        return Work(standing.cell, standing.key, standing.action, paths, self.store.root)

    def end(self, name: str, outcome: Outcome) -> None:
        if outcome.status == "busy":
            self.busy.append(name)
            return
        if outcome.status == "stopped":
            raise Interrupted(outcome.message)
        if outcome.status == "lost":
            self.store.sweep()
            if outcome.again and self.losses[name] < self.retries:
                self.losses[name] += 1
                note(f"{name}: {outcome.message}; try {self.losses[name] + 1} of {self.retries + 1}", style="yellow")
                self.ready.append(name)
                return
            outcome = self.record_loss(name, outcome)
        if self.listener:
            self.listener.ended(name, outcome)
        if outcome.status == "failed":
            self.summary.failed[name] = outcome.message
            return
        if outcome.status == "kept":
            self.summary.kept.append(name)
        else:
            self.summary.ran[name] = outcome.seconds
        self.survey.look(name)
        self.sorter.done(name)

    def record_loss(self, name: str, outcome: Outcome) -> Outcome:
        """Keep that a cell could not be made, which its own process could not record; as a failed outcome."""
        work, message = self.work(self.survey.standings[name]), outcome.message
        if self.losses[name]:
            message = f"lost {self.losses[name] + 1} times; the last time {message}"
        self.store.record_failure(work.key, failure_of(work, StudyError(message), datetime.now(UTC), outcome.seconds))
        return Outcome("failed", outcome.seconds, message)

    def block(self) -> None:
        """Name the cells that could not run, each with the failed ones it waits for."""
        causes: dict[str, list[str]] = {}
        for failed in self.summary.failed:
            for reader in self.plan.readers(failed):
                causes.setdefault(reader, []).append(failed)
        self.summary.blocked = {name: ", ".join(causes[name]) for name in self.plan.cells if name in causes}

    def failed_meanwhile(self, standing: Standing) -> bool:
        """Whether another runner saw the cell fail since this run began; what failed before is tried again."""
        record = standing.manifest  # clocks are not compared: they may be set back, or another machine's
        if standing.state != "failed" or record is None:
            return False
        return self.failures_before.get(record["key"]) != record["failed"]

    def broken(self, standing: Standing) -> str:
        """What is wrong with a finished cell, or with what a cell would read; results are made of neither."""
        if standing.state == "done":
            return told_of(self.store.problems(str(standing.key), thorough=False), self.plan.study)
        read = [str(self.survey.standings[name].key) for name in standing.cell.inputs.values()]
        fresh = [key for key in dict.fromkeys(read) if key not in self.verified]
        wrong = [problem for key in fresh for problem in self.store.problems(key)]
        if not wrong:
            self.verified.update(fresh)
        return told_of(wrong, self.plan.study)


def told_of(problems: list[str], study: str) -> str:
    """Problems of outputs as one sentence, with what to do; empty without any."""
    if not problems:
        return ""
    remedy = f"`haymaker study verify {study} --repair` removes it, and the next run makes it again"
    return f"{'; '.join(problems)}; {remedy}"


def check_outside(survey: Survey) -> None:
    """Refuse to start where a model or file is missing: better now than after hours of training."""
    absent: dict[str, str] = {}
    for name, standing in survey.all().items():
        if standing.state == "absent":
            absent.setdefault(standing.note, name)
    if absent:
        raise ConfigError("; ".join(f"{name}: {note}" for note, name in absent.items()))
