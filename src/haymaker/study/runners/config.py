"""What a study may say about where its cells run. None of it changes a result, so none of it counts for a key."""

from typing import Literal

from pydantic import Field, model_validator

from haymaker.config import Frozen
from haymaker.errors import ConfigError

RunnerName = Literal["local", "serial"]
OF: dict[str, tuple[RunnerName, ...]] = {  # keys that only some runners know
    "workers": ("local",),
    "memory_gb": ("local",),
    "minutes": ("local",),
}


class RunnerConfig(Frozen):
    """The runner of a study, and what it may take.

    Attributes:
        name: local (processes of this machine) or serial (this process).
        workers: Most cells at a time. None: of `local` one a GPU, else as many as cores and memory hold.
        threads: Threads of a cell on a CPU. None: the cores divided by the workers that this machine would have.
        retries: Times that a cell is tried again whose process, node or job was lost; failures are not tried again.
        minutes: A cell's time limit.
        memory_gb: Memory of a cell in GB (1e9 bytes). None: from the cost model.
    """

    name: RunnerName = "local"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    retries: int = Field(default=2, ge=0)
    minutes: float | None = Field(default=None, gt=0)
    memory_gb: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def check_runner(self) -> "RunnerConfig":
        """Refuse what the runner would not look at."""
        for key, runners in OF.items():
            if key in self.model_fields_set and getattr(self, key) is not None and self.name not in runners:
                raise ConfigError(f"runner.{key}: the runner {self.name} has none; it is of {', '.join(runners)}")
        return self
