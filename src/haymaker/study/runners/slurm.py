"""Jobs of a Slurm cluster through submitit: a job array for all cells that ask for the same, one GPU a cell.

The state of the work is in the store and its leases, not in the jobs: one that is preempted or requeued goes on from
there, one that comes twice finds the cell made, and a study whose command was ended finds its jobs' cells.
"""

import subprocess
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from haymaker.console import note
from haymaker.errors import ConfigError, StudyError
from haymaker.processes import MEMORY_SHARE, environment, threads_of
from haymaker.study.bases import Base
from haymaker.study.runners.config import RunnerConfig
from haymaker.study.runners.pool import ENDLESS
from haymaker.study.runners.sending import outcome_of, packed, perform_packed
from haymaker.study.runners.work import Outcome, Request, Work
from haymaker.study.store import Store

POLL_SECONDS = 1.0
QUEUE_POLLS = 10  # looks at result files for each look at the queue
DAY_MINUTES = 24 * 60.0  # where nothing is known of a cell
LEAST_GB = 2
FINAL = ("CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE")  # another try would go the same way
AWAY = ("Unable to contact slurm controller", "timed out", "Zero Bytes were transmitted")  # said of the controller
NO_GPUS = "Invalid generic resource"  # said where a GPU is asked for of a cluster or partition that has none
WITHOUT_GPUS = "; give a runner.partition with GPUs, or --set runner.device=cpu"
ALIVE = ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED", "SUSPENDED", "REQUEUE_HOLD", "PREEMPTED")


class CellJob:
    """What submitit pickles: no state of its own, and requests of JSON."""

    def __call__(self, *requests: str) -> list[str]:
        """Answers to the requests, one after the other in this process, which keeps their base model."""
        return [perform_packed(request) for request in requests]

    def checkpoint(self, *requests: str) -> Any:
        """What a job does again that is told to end before its time: the same, from what its stages have saved."""
        from submitit.helpers import DelayedSubmission  # type: ignore[import-not-found]

        return DelayedSubmission(CellJob(), *requests)


@dataclass
class Sent:
    """A cell whose job is in the queue; `job` is submitit's, and `number` which of the job's cells it is."""

    work: Work
    future: "Future[Outcome]"
    job: Any = None
    number: int = 0
    shared: bool = False  # the job has other cells too


class SlurmRunner:
    """Sends what is ready as job arrays, and asks now and then what has become of it."""

    slots = ENDLESS  # the queue is Slurm's

    def __init__(self, config: RunnerConfig, requests: Mapping[str, Request], store: Path) -> None:
        self.config, self.requests = config, requests
        self.submitit = imported()
        self.folder = store.absolute() / "slurm"
        self.new: list[Sent] = []
        self.sent: list[Sent] = []
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread: threading.Thread | None = None

    def submit(self, work: Work) -> "Future[Outcome]":
        """Have a job do the work; submitit's stand-in `debug` does it here and now."""
        future: Future[Outcome] = Future()
        if self.config.cluster == "debug":
            answers = self.executor(self.options(work)).submit(CellJob(), packed(work)).result()
            future.set_result(outcome_of(answers[0]))
            return future
        with self.lock:
            self.new.append(Sent(work, future))
            if self.thread is None:
                self.thread = threading.Thread(target=self.serve, daemon=True)
                self.thread.start()
        return future

    def serve(self) -> None:
        """Ask and send, until the runner is stopped; what goes wrong is every waiting cell's outcome.

        While Slurm's controller is away that waits: jobs go on without it.
        """
        polls, away = 0, False
        while not self.ended.wait(POLL_SECONDS):
            polls += 1
            look_at_queue = polls % QUEUE_POLLS == 0
            try:
                self.ask(look_at_queue)
                self.send()
                away = away and not look_at_queue
            except Exception as error:
                said = " ".join(str(error).split())[-500:]
                if not any(sign in said for sign in AWAY):
                    hint = WITHOUT_GPUS if NO_GPUS in said else ""
                    self.fail(StudyError(f"the jobs could not be sent or asked after: {said}{hint}"))
                    return
                if not away:
                    note(f"Slurm's controller is away ({said}); waiting for it", style="yellow")
                away = True

    def fail(self, told: StudyError) -> None:
        """Have every waiting cell end so."""
        with self.lock:
            waiting, self.new = [*self.sent, *self.new], []
        for one in waiting:
            one.future.set_exception(told)

    def send(self) -> None:
        """Jobs for the new cells, of which the longest chains come first. What could not be sent stays new."""
        with self.lock:
            new, self.new = sorted(self.new, key=lambda one: -self.request(one.work).rank), []
        try:
            self.send_arrays(new)
        finally:
            self.sent.extend(one for one in new if one.job is not None)
            with self.lock:
                self.new = [*(one for one in new if one.job is None), *self.new]

    def send_arrays(self, new: list[Sent]) -> None:
        """A job array for each kind of request."""
        kinds: dict[tuple[tuple[str, Any], ...], list[list[Sent]]] = {}
        for group in self.jobs_of(new):
            options = self.options(*(one.work for one in group))
            kinds.setdefault(tuple(sorted(options.items())), []).append(group)
        for options, groups in kinds.items():
            executor = self.executor(dict(options))
            with environment({**threads_of(self.config.threads or 1), MEMORY_SHARE: "1"}), executor.batch():
                jobs = [executor.submit(CellJob(), *(packed(one.work) for one in group)) for group in groups]
            for group, job in zip(groups, jobs, strict=True):
                for number, one in enumerate(group):
                    one.job, one.number, one.shared = job, number, len(group) > 1

    def jobs_of(self, new: list[Sent]) -> list[list[Sent]]:
        """The cells of each job: of one base model and the same needs but for time, at most `runner.cells` together."""
        alike: dict[Any, list[Sent]] = {}
        for one in new:
            needs = {
                **self.options(one.work),
                "timeout_min": None,
                "base": Base.of(one.work.paths, one.work.cell.params),
            }
            alike.setdefault(tuple(needs.items()), []).append(one)
        most = self.config.cells or 1
        return [group[i : i + most] for group in alike.values() for i in range(0, len(group), most)]

    def ask(self, look_at_queue: bool) -> None:
        """Settle the cells whose jobs have ended."""
        states = self.states() if look_at_queue else {}
        for one in list(self.sent):
            outcome = self.outcome(one, states)
            if outcome is not None:
                self.sent.remove(one)
                one.future.set_result(outcome)

    def outcome(self, one: Sent, states: Mapping[str, str]) -> Outcome | None:
        """How a cell's job ended; None while it has not. A cell of a job with others may be made before that."""
        job = one.job
        if one.shared and (manifest := Store(one.work.store).manifest(one.work.key)):
            return Outcome("done", manifest["seconds"])
        if job.paths.result_pickle.exists():
            try:
                return outcome_of(job.result()[one.number])
            except Exception as error:
                return Outcome("lost", message=f"job {job.job_id}: {' '.join(str(error).split())[-300:]}")
        state = states.get(job.job_id)
        if state is None or state in ALIVE or job.paths.result_pickle.exists():
            return None
        return Outcome("lost", message=f"job {job.job_id} ended as {state}", again=state not in FINAL)

    def states(self) -> dict[str, str]:
        """The state of every job that was sent, as far as it can be told; GONE where nobody knows it any more."""
        jobs = [one.job for one in self.sent]
        if self.config.cluster != "slurm":
            return {job.job_id: "GONE" for job in jobs if job.done()}
        found: dict[str, str] = {}
        for array in dict.fromkeys(job.job_id.split("_")[0] for job in jobs):
            found |= job_states(array)
        return {job.job_id: found.get(job.job_id, "GONE") for job in jobs}

    def request(self, work: Work) -> Request:
        return self.requests.get(work.cell.name, Request())

    def options(self, *works: Work) -> dict[str, Any]:
        """What submitit is asked for, for a job of cells with the same needs but for time.

        Memory in whole GB and minutes in steps, so that few arrays are enough.
        """
        request, config = self.request(works[0]), self.config
        gpus = request.gpus if config.gpus is None else config.gpus * (request.gpus > 0)
        minutes = sum(config.minutes or self.request(work).minutes or DAY_MINUTES for work in works)
        return {
            "name": "haymaker",
            "timeout_min": stepped(minutes),
            "mem_gb": ceil(config.memory_gb or max(LEAST_GB, request.memory_bytes / 1e9)),
            "cpus_per_task": config.threads or 1,
            "gpus_per_node": ceil(gpus),
        }

    def executor(self, options: dict[str, Any]) -> Any:
        executor = self.submitit.AutoExecutor(folder=self.folder / "%j", cluster=self.config.cluster)
        executor.update_parameters(**{key: value for key, value in options.items() if key != "gpus_per_node" or value})
        if self.config.cluster == "slurm":
            executor.update_parameters(**self.of_slurm())
        return executor

    def of_slurm(self) -> dict[str, Any]:
        """What only Slurm understands."""
        config = self.config
        named = {key: getattr(config, key) for key in ("partition", "account", "qos", "constraint")}
        given = {f"slurm_{key}": value for key, value in named.items() if value is not None}
        given |= {"slurm_setup": list(config.setup)} if config.setup else {}
        given |= {"slurm_array_parallelism": config.workers} if config.workers else {}
        more = {"requeue": True, **config.options}
        return {**given, "slurm_additional_parameters": more, "slurm_stderr_to_stdout": True}

    def stop(self) -> None:
        """Cancel what is still in the queue, unless it is to be kept."""
        self.ended.set()
        if self.thread is not None:
            self.thread.join()
        for one in self.sent if not self.config.keep_jobs else ():
            with suppress(OSError):
                one.job.cancel(check=False)


def imported() -> Any:
    """submitit. Raises ConfigError where it is not installed."""
    try:
        import submitit  # type: ignore[import-not-found]
    except ImportError:
        raise ConfigError("runner slurm: needs submitit; run `pip install 'haymaker[slurm]'`") from None
    return submitit


def stepped(minutes: float) -> int:
    """A time limit rounded up to a quarter of an hour, and from four hours on to a whole one."""
    step = 15 if minutes <= 240 else 60
    return step * ceil(minutes / step)


def job_states(array: str) -> dict[str, str]:
    """The states of an array's jobs by id, as 12_3, as Slurm's controller has them for some minutes after their end.

    Asked of it, not of the accounting database (sacct), which a small cluster does not have. StudyError where it does
    not answer.
    """
    asked = ["scontrol", "show", "job", "--oneliner", array]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    if told.returncode and "Invalid job id" not in told.stderr:
        raise StudyError(f"{' '.join(asked)}: {told.stderr}")
    found: dict[str, str] = {}
    for line in told.stdout.splitlines():
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        for task in tasks_of(fields.get("ArrayTaskId", "")):
            found[f"{array}_{task}"] = fields.get("JobState", "GONE")
        if "ArrayTaskId" not in fields and fields.get("JobId") == array:
            found[array] = fields.get("JobState", "GONE")
    return found


def tasks_of(text: str) -> Iterable[int]:
    """The numbers of an array's tasks, as Slurm writes them: 3, 0-4, 0,2-3%8."""
    for part in filter(None, text.partition("%")[0].split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
