"""What a study may say about where its cells run. None of it changes a result, so none of it counts for a key."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from haymaker.choices import named_device
from haymaker.config import Frozen, chosen_by
from haymaker.errors import ConfigError

RunnerName = Literal["local", "serial", "slurm", "ray"]
OF: dict[str, tuple[RunnerName, ...]] = {  # keys that only some runners know
    "workers": ("local", "slurm", "ray"),
    "memory_gb": ("local", "slurm", "ray"),
    "minutes": ("local", "slurm", "ray"),
    "gpus": ("slurm", "ray"),
    "device": ("local", "slurm", "ray"),
    "partition": ("slurm",),
    "account": ("slurm",),
    "qos": ("slurm",),
    "constraint": ("slurm",),
    "options": ("slurm",),
    "setup": ("slurm",),
    "cells": ("slurm",),
    "cluster": ("slurm",),
    "keep_jobs": ("slurm",),
    "address": ("ray",),
}


class RunnerConfig(Frozen):
    """The runner of a study, and what it may take.

    Attributes:
        name: local (processes of this machine), serial (this process), slurm (jobs of a cluster) or ray.
        workers: Most cells at a time. None: of `local` one a GPU, else as many as cores and memory hold.
        threads: Threads of a cell on a CPU. None: the cores divided by the workers that this machine would have.
        retries: Times that a cell is tried again whose process, node or job was lost; failures are not tried again.
        minutes: A cell's time limit. None: none; of `slurm` from the cost model.
        memory_gb: Memory of a cell in GB (1e9 bytes). None: from the cost model.
        gpus: GPUs of a cell that has a model in it; of `ray` also a part of one. None: 1 where there are any.
        device: What time limits are reckoned on, as of `haymaker study plan`. None: the device at hand; of `slurm` and
            `ray` a100-80gb. With cpu no GPU is asked for.
        partition: Slurm's partition.
        account: Slurm's account.
        qos: Slurm's quality of service.
        constraint: Slurm's features of a node.
        options: Further options of sbatch by their long names.
        setup: Lines of shell before a job, such as `module load cuda`.
        cells: Most cells of one Slurm job, which makes one after the other and loads their base model once. None: 1.
        cluster: slurm, or submitit's stand-ins: local (processes) and debug (this process).
        keep_jobs: Leave jobs in the queue on Ctrl-C; the same command then waits for them.
        address: Of a Ray cluster, as "auto". None: Ray on this machine.
    """

    name: RunnerName = "local"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1, le=4096)  # of a billion OpenMP allocates 216 GB, and aborts
    retries: int = Field(default=2, ge=0)
    minutes: float | None = Field(default=None, gt=0)
    memory_gb: float | None = Field(default=None, gt=0)
    gpus: float | None = Field(default=None, ge=0)
    device: Annotated[str, chosen_by(named_device)] | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    options: dict[str, str | int | bool] = {}
    setup: tuple[str, ...] = ()
    cells: int | None = Field(default=None, ge=1)
    cluster: Literal["slurm", "local", "debug"] = "slurm"
    keep_jobs: bool = False
    address: str | None = None

    @model_validator(mode="after")
    def check_runner(self) -> "RunnerConfig":
        """Refuse what the runner would not look at."""
        for key, runners in OF.items():
            if key in self.model_fields_set and getattr(self, key) is not None and self.name not in runners:
                raise ConfigError(f"runner.{key}: the runner {self.name} has none; it is of {', '.join(runners)}")
        return self
