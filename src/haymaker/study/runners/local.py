"""Processes of this machine: on a GPU one for each device, else as many as cores and memory allow."""

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType

from haymaker.processes import MEMORY_SHARE, environment, leave_interrupts_to_parent, leave_with, threads_of
from haymaker.study.runners.pool import Lost, Overdue, Pool
from haymaker.study.runners.sending import perform_packed
from haymaker.study.runners.work import FEWER_WORKERS, Request

GRACE_SECONDS = 60.0  # for a state to be saved
SAID = {
    signal.SIGKILL: f"was killed, perhaps for want of memory ({FEWER_WORKERS})",
    signal.SIGSEGV: "broke off with a segmentation fault",
}


def local_pool(
    workers: int,
    threads: int = 1,
    devices: Sequence[str] = (),
    *,
    requests: Mapping[str, Request] | None = None,
    minutes: float | None = None,
) -> Pool:
    """A pool of processes with `threads` threads each; over `devices`, if there are any, they are dealt in turn.

    `minutes` is a time limit for each cell.
    """

    def make(number: int) -> LocalPlace:
        variables = {**threads_of(threads), MEMORY_SHARE: str(1 / -(-workers // max(1, len(devices))))}
        if devices:
            variables["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        return LocalPlace(number, variables)

    return Pool(make, workers, requests, minutes)


@dataclass(frozen=True)
class Running:
    """A process and the lines to it; it ends when `held` is closed, as by our death."""

    process: SpawnProcess
    line: Connection
    held: Connection


class LocalPlace:
    """One process of this machine, started when there is something to do and anew where it died."""

    def __init__(self, number: int, variables: Mapping[str, str]) -> None:
        self.number, self.variables = number, variables
        self.running: Running | None = None
        self.stopping = False
        self.starting = threading.Lock()

    def call(self, request: str, seconds: float | None) -> str:
        running = self.started()
        try:
            running.line.send_bytes(request.encode())
            if running.line.poll(seconds):
                return running.line.recv_bytes().decode()
        except (EOFError, OSError):
            running.process.join()
            self.running = None
            told = ended(running.process.exitcode)
            raise Lost(f"worker {self.number + 1} (process {running.process.pid}) {told}") from None
        running.process.kill()
        running.process.join()
        self.running = None
        raise Overdue(f"it ran longer than its limit of {(seconds or 0) / 60:g} minutes and was stopped")

    def started(self) -> Running:
        with self.starting:
            if self.stopping:
                raise Lost("it was not started any more")
            if self.running is None:
                self.running = start(self.variables)
            return self.running

    def stop(self) -> None:
        """Ask it to end as by Ctrl-C, and wait; a stage that saves its state does so."""
        with self.starting:
            self.stopping, running = True, self.running
        if running is None:
            return
        running.process.terminate()
        running.process.join(GRACE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self.running is not None:
            self.running.process.kill()
            self.running.process.join()


_starting = threading.Lock()  # the environment is the whole process's


def start(variables: Mapping[str, str]) -> Running:
    """A new process that answers requests. Raises Lost where it ends at once."""
    # Spawned, not forked: neither a GPU nor a tokenizer's threads survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    watched, held = context.Pipe(duplex=False)  # nothing is sent: that it breaks is the message
    process = context.Process(target=answer, args=(theirs, watched))
    with _starting, environment(variables):
        process.start()
    theirs.close()
    watched.close()
    try:
        ours.recv_bytes()  # it is there: a cell's time limit begins now
    except (EOFError, OSError):
        process.join()
        raise Lost(f"a worker (process {process.pid}) {ended(process.exitcode)} before it had any work") from None
    return Running(process, ours, held)


def answer(line: Connection, parent: Connection) -> None:
    """What a place's process does: perform requests until the line ends or it is asked to stop, as by Ctrl-C."""
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    leave_interrupts_to_parent()
    leave_with(parent)
    signal.signal(signal.SIGTERM, stop)
    try:
        line.send_bytes(b"ready")
        while not asked:
            line.send_bytes(perform_packed(line.recv_bytes().decode()).encode())
    except (EOFError, OSError, KeyboardInterrupt):
        return


def ended(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    return SAID.get(signal.Signals(-code), f"was ended by signal {-code}")


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Loads no torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [device for device in named.split(",") if device.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]
