"""Actors of Ray, on this machine or a cluster, that stay between cells; a lost one's cell goes to another."""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from haymaker.errors import ConfigError, StudyError
from haymaker.processes import threads_of
from haymaker.study.runners.config import RunnerConfig
from haymaker.study.runners.pool import ENDLESS, Gone, Lost, Overdue, Pool
from haymaker.study.runners.sending import perform_packed
from haymaker.study.runners.work import Outcome, Request, Work

START_SECONDS = 30.0  # for an actor to get its place; where there is none, another one does its work


class CellActor:
    """A process of a node that performs requests."""

    def __init__(self, variables: dict[str, str]) -> None:
        import os

        os.environ.update(variables)

    def ready(self) -> bool:
        """Answers as soon as the actor has its place."""
        return True

    def perform(self, request: str) -> str:
        return perform_packed(request)


class RayPlace:
    """A place in a cluster: one actor at a time, started anew where it was lost."""

    def __init__(self, ray: Any, options: Mapping[str, Any], threads: int) -> None:
        self.ray, self.options, self.threads = ray, dict(options), threads
        self.actor: Any = None
        self.stopping = False

    def call(self, request: str, seconds: float | None) -> str:
        actor = self.started()
        try:
            return self.ray.get(actor.perform.remote(request), timeout=seconds)
        except self.ray.exceptions.GetTimeoutError:
            self.kill()
            raise Overdue(f"it ran longer than its limit of {(seconds or 0) / 60:g} minutes and was stopped") from None
        except self.ray.exceptions.RayError as error:
            self.kill()
            raise Lost(" ".join(str(error).split())[:300]) from None

    def started(self) -> Any:
        if self.stopping:
            raise Lost("it was not started any more")
        if self.actor is None:
            self.actor = self.ray.remote(CellActor).options(**self.options).remote(threads_of(self.threads))
            try:
                self.ray.get(self.actor.ready.remote(), timeout=START_SECONDS)
            except self.ray.exceptions.RayError:
                self.kill()
                raise Gone("the cluster has no place for another actor") from None
        return self.actor

    def stop(self) -> None:
        """End its actor: what its stage has saved is where the next run goes on."""
        self.stopping = True
        self.kill()

    def kill(self) -> None:
        """End its actor at once."""
        actor, self.actor = self.actor, None
        if actor is not None:
            self.ray.kill(actor)


class RayRunner:
    """Two pools where there are GPUs: actors with one for what has a model in it, and actors without for the rest."""

    slots = ENDLESS

    def __init__(self, config: RunnerConfig, requests: Mapping[str, Request]) -> None:
        self.config, self.requests = config, requests
        self.ray = imported()
        self.begun = not self.ray.is_initialized()
        if self.begun:
            self.begin()
        has = self.ray.cluster_resources()
        self.threads = config.threads or 1
        self.plain = self.pool(0.0, has)
        gpus = has.get("GPU", 0.0)
        self.with_gpu = self.pool(config.gpus or 1.0, has) if gpus and config.gpus != 0 else self.plain

    def begin(self) -> None:
        """Start Ray on this machine, or connect to the cluster. Raises StudyError where that fails."""
        try:
            address = self.config.address
            self.ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
        except Exception as error:  # of whatever type: Ray's own on a busy machine is a bare Exception
            said = " ".join(str(error).split())[:300]
            raise StudyError(f"runner ray: Ray could not be started or reached: {said}; try again, or see "
                             "runner.address") from error  # fmt: skip

    def pool(self, gpus: float, has: Mapping[str, float]) -> Pool:
        """As many places as the cluster has room for, or as were asked for."""
        memory = self.memory(gpus)
        room = has.get("GPU", 0.0) / gpus if gpus else has.get("CPU", 1.0) / self.threads
        if memory and has.get("memory"):
            room = min(room, has["memory"] / memory)
        if room < 1:
            raise ConfigError(
                f"runner ray: a cell needs {self.threads} cores, {gpus:g} GPUs and {memory / 1e9:.1f} GB, and the "
                f"cluster has no room for one; set runner.memory_gb, runner.gpus or runner.threads"
            )
        options = {"num_cpus": self.threads, "num_gpus": gpus, "memory": memory, "max_restarts": 0}
        places = min(self.config.workers or ENDLESS, int(room))
        return Pool(
            lambda number: RayPlace(self.ray, options, self.threads), places, self.requests, self.config.minutes
        )

    def memory(self, gpus: float) -> int:
        """Bytes that an actor asks for: those of its largest cell."""
        if self.config.memory_gb is not None:
            return int(self.config.memory_gb * 1e9)
        asking = [request.memory_bytes for request in self.requests.values() if not gpus or request.gpus]
        return max(asking, default=0)

    def submit(self, work: Work) -> "Future[Outcome]":
        """Have an actor do the work."""
        request = self.requests.get(work.cell.name, Request())
        return (self.with_gpu if request.gpus else self.plain).submit(work)

    def stop(self) -> None:
        """End all actors, and Ray where this runner has started it."""
        self.plain.stop()
        if self.with_gpu is not self.plain:
            self.with_gpu.stop()
        if self.begun:
            self.ray.shutdown()


def imported() -> Any:
    """Ray. Raises ConfigError where it is not installed."""
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError:
        raise ConfigError("runner ray: needs Ray; run `pip install 'haymaker[ray]'`") from None
    return ray
