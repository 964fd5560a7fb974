"""Places that work is handed to, each to the place that holds its model already: what `local` and `ray` have in common.

A place is a process that stays, so that a model which is loaded serves the next cell. Work waits here. A place that
becomes free takes of what reads its base model the work that begins the longest chain of cells.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from haymaker.study.bases import ROLES, Base
from haymaker.study.runners.sending import address_of, outcome_of, packed
from haymaker.study.runners.work import Outcome, Request, Work, perform

ENDLESS = 1_000_000


class Lost(Exception):
    """A place's process died in the middle of its work; what is known about it."""


class Gone(Exception):
    """A place that cannot be had any more: its node is gone, or others have it."""


class Overdue(Exception):
    """A place did not answer in its time, and was stopped."""


@runtime_checkable
class Place(Protocol):
    """A process that does one thing at a time."""

    def call(self, request: str, seconds: float | None) -> str:
        """The answer to a request. Raises Lost, or Overdue after `seconds`; the next call starts a new process."""
        ...

    def stop(self) -> None:
        """Ask its process to save its state and end, from another thread; return when it has ended."""
        ...

    def kill(self) -> None:
        """End its process at once."""
        ...


@dataclass(frozen=True)
class Loaded:
    """What a process has in memory: one base model, and the adapters that it met last."""

    base: Base | None = None
    adapters: frozenset[str] = frozenset()

    @classmethod
    def by(cls, work: Work) -> "Loaded":
        """What a process has once it did the work."""
        roles = (*ROLES, "donor")
        adapters = frozenset(str(work.paths[role]) for role in roles if role in work.paths)
        return cls(Base.of(work.paths, work.cell.params), adapters)


@dataclass
class Waiting:
    """Work and who waits for it."""

    work: Work
    future: "Future[Outcome]"
    needs: Loaded = field(init=False)

    def __post_init__(self) -> None:
        self.needs = Loaded.by(self.work)


class Pool:
    """Hands work to places. `make` makes place number i; it is called when there is something to do for it."""

    slots = ENDLESS  # all that is ready waits here, where a place can choose

    def __init__(
        self,
        make: Callable[[int], Place],
        places: int,
        requests: Mapping[str, Request] | None = None,
        minutes: float | None = None,
    ) -> None:
        self.make, self.most, self.minutes = make, places, minutes
        self.requests = requests or {}
        self.waiting: list[Waiting] = []
        self.places: list[Place] = []
        self.threads: list[threading.Thread] = []
        self.idle = 0
        self.stopped = False
        self.changed = threading.Condition()

    def submit(self, work: Work) -> "Future[Outcome]":
        """Have a place do the work; what only this process can do is done here and now."""
        future: Future[Outcome] = Future()
        if address_of(work.cell.stage) is None:
            future.set_result(perform(work))
            return future
        with self.changed:
            self.waiting.append(Waiting(work, future))
            if self.idle < len(self.waiting) and len(self.threads) < self.most:
                self.open()
            self.changed.notify()
        return future

    def open(self) -> None:
        place = self.make(len(self.places))
        self.places.append(place)
        thread = threading.Thread(target=self.serve, args=(place,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def serve(self, place: Place) -> None:
        """What a place's thread does: one piece of work after the other, until the pool is stopped."""
        held = Loaded()
        while taken := self.take(held):
            try:
                outcome = self.done_by(place, taken.work)
            except Gone as gone:
                self.give_up(taken, str(gone))
                return
            if outcome.status in ("lost", "failed"):  # no process keeps a model that a stage failed with
                held = Loaded()
            elif outcome.status == "done" and taken.needs.base:
                held = taken.needs
            taken.future.set_result(outcome)

    def give_up(self, taken: Waiting, why: str) -> None:
        """Leave work to the other places; with none left, it is lost."""
        with self.changed:
            self.threads.remove(threading.current_thread())
            if not self.threads and len(self.places) < self.most:  # the first one was gone before another was asked for
                self.open()
            if self.threads:
                self.waiting.insert(0, taken)
                self.changed.notify()
                return
            abandoned, self.waiting = [taken, *self.waiting], []
        for one in abandoned:
            one.future.set_result(Outcome("lost", message=why, again=False))

    def take(self, held: Loaded) -> Waiting | None:
        """The work that suits a place best; None once the pool is stopped."""
        with self.changed:
            self.idle += 1
            while not self.waiting and not self.stopped:
                self.changed.wait()
            self.idle -= 1
            if self.stopped:
                return None
            return self.waiting.pop(min(range(len(self.waiting)), key=lambda i: self.order(i, held)))

    def order(self, number: int, held: Loaded) -> tuple[bool, float, bool, int]:
        """What comes first at a place: its own base model, then the longest chain, then its own adapter."""
        waiting = self.waiting[number]
        request = self.requests.get(waiting.work.cell.name, Request())
        return not suits(waiting.needs, held), -request.rank, waiting.needs != held, number

    def done_by(self, place: Place, work: Work) -> Outcome:
        try:
            return outcome_of(place.call(packed(work), self.minutes and 60 * self.minutes))
        except Lost as loss:
            return Outcome("stopped" if self.stopped else "lost", message=str(loss))
        except Overdue as late:
            return Outcome("lost", message=str(late), again=False)

    def stop(self) -> None:
        """End all places, each after it had time to save what it does."""
        with self.changed:
            self.stopped = True
            self.waiting.clear()
            self.changed.notify_all()
        stopping = [threading.Thread(target=place.stop, daemon=True) for place in self.places]
        for thread in stopping:
            thread.start()
        try:
            for thread in (*stopping, *self.threads):
                thread.join()
        except KeyboardInterrupt:  # a second one: no more time
            for place in self.places:
                place.kill()


def suits(needs: Loaded, held: Loaded) -> bool:
    """Whether a place need not load another base model in place of the one that it has."""
    return needs.base is None or held.base is None or needs.base == held.base
