"""The runner that a config asks for. Only what is asked for is imported."""

from collections.abc import Mapping
from pathlib import Path

from haymaker.processes import cores, free_memory
from haymaker.study.runners.config import RunnerConfig
from haymaker.study.runners.local import local_pool, visible_devices
from haymaker.study.runners.serial import SerialRunner
from haymaker.study.runners.work import Request, Runner

USABLE = 0.8  # of the memory that is free; the rest is for what was not foreseen
PROCESS_BYTES = 600 * 2**20  # of a process with torch in it, before it has a model


def open_runner(config: RunnerConfig, requests: Mapping[str, Request], store: Path) -> Runner:
    """The runner of a config for cells with these needs, by name. Raises ConfigError where its package is missing."""
    devices = visible_devices() if config.name in ("local", "serial") else []
    workers = config.workers or default_workers(config, requests, devices)
    threads = config.threads or max(1, cores() // workers)
    if config.name == "slurm":
        from haymaker.study.runners.slurm import SlurmRunner

        return SlurmRunner(config, requests, store)
    if config.name == "ray":
        from haymaker.study.runners.ray_actors import RayRunner

        return RayRunner(config, requests)
    if config.name == "serial":
        return SerialRunner(threads)
    return local_pool(workers, threads, devices, requests=requests, minutes=config.minutes)


def default_workers(config: RunnerConfig, requests: Mapping[str, Request], devices: list[str]) -> int:
    """One a GPU; else as many of one thread each as there are cores and as memory holds.

    On small models threads wait for one another more than they compute: processes use the same cores better, and
    beside other work by far (docs/studies.md has the figures).
    """
    if devices:
        return len(devices)
    largest = max((request.memory_bytes for request in requests.values()), default=0)
    each = PROCESS_BYTES + (int(config.memory_gb * 1e9) if config.memory_gb else largest)
    return max(1, min(cores(), int(USABLE * free_memory()) // each))
