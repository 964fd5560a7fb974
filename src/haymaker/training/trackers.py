"""The metrics of a run, sent to a tracker as they come, by accelerate's client of it.

Nothing is imported unless a tracker is asked for, and it decides no number: a run may go on with another one, or none.
What a service must know to let anybody in (a key, an address) stays in its own environment variables and files.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from haymaker.choices import TRACKERS
from haymaker.config import TrainConfig
from haymaker.console import note
from haymaker.errors import ConfigError, HaymakerError
from haymaker.file_reading import read_json_if_there
from haymaker.files import write_json

Send = Callable[[Mapping[str, Any]], None]
TRACKER_FILE = "tracker.json"  # which run of the tracker a stopped run goes on in
PROJECT = "haymaker"
MOST_CHARACTERS = 300  # of what a client says of its failure
UNITS = {
    "loss": "nats per answer token",
    "rate": "AdamW's learning rate",
    "gradient_norm": "L2 norm before clipping",
    "answer_tokens": "tokens with loss",
    "tokens": "tokens read, padding included",
    "seconds": "seconds of the step",
    "tokens_per_second": "tokens read a second",
    "peak_bytes": "most bytes in use",
}


def check_tracker(name: str | None) -> None:
    """Raise ConfigError where a tracker's package is not installed, before anything is trained."""
    if name is not None and not any(find_spec(module) for module in TRACKERS[name].modules):
        raise ConfigError(
            f"tracker: {name} is not installed; pip install 'haymaker[{TRACKERS[name].extra}]', or leave --tracker away"
        )


@contextmanager
def sending(config: TrainConfig, folder: Path, done: int, wanted: bool = True) -> Iterator[Send]:
    """Inside the block, what sends a line of metrics to the tracker of the config: names as in metrics.jsonl, at its
    step. A run that goes on behind `done` steps does so in the tracker's run too."""
    if config.tracker is None or not wanted:
        yield lambda line: None
        return
    name = config.tracker
    try:
        client = opened(name, folder, done)
        if not done:
            client.store_init_configuration(described(config))
    except HaymakerError:
        raise
    except Exception as error:  # of any client: no key, no server, a folder that it does not write
        raise ConfigError(
            f"tracker: {name} cannot begin ({cause(error)}); give it what it asks for, or leave --tracker away"
        ) from error
    sender = Sender(name, client)
    try:
        yield sender
    finally:
        sender.tried("at the end", client.finish)


@dataclass
class Sender:
    """Sends lines of metrics. What a client fails at is told once, and ends no run: metrics.jsonl has every step."""

    name: str
    client: Any
    failed: bool = False

    def __call__(self, line: Mapping[str, Any]) -> None:
        if not self.failed:
            self.tried(f"at step {line['step']}", partial(self.client.log, numbers(line), step=line["step"]))

    def tried(self, when: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except Exception as error:
            if not self.failed:
                note(
                    f"tracker: {self.name} failed {when} ({cause(error)}); it may lack what came from there on, the "
                    f"run goes on without it, and metrics.jsonl has every step",
                    "yellow",
                )
            self.failed = True


def cause(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MOST_CHARACTERS]}"


def opened(name: str, folder: Path, done: int) -> Any:
    """The client of a tracker, with its run begun, or going on where steps are done."""
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # its clients write to its log, which wants to know of processes first
    before = read_json_if_there(folder / TRACKER_FILE, "remove it; the tracker then begins a new run")
    known = before["run"] if done and isinstance(before, dict) and before.get("tracker") == name else None
    run = known or uuid.uuid4().hex
    client = LOGGER_TYPE_TO_CLASS[name](**options_of(name, folder, done, run, new=known is None))
    client.main_process_only = False  # the first process alone comes here
    client.start()
    if name == "mlflow":
        run = client.active_run.info.run_id
    write_json(folder / TRACKER_FILE, {"tracker": name, "run": run})
    return client


def options_of(name: str, folder: Path, done: int, run: str, *, new: bool) -> dict[str, Any]:
    """What a tracker's client is made with, so that it goes on in its run where that is not a new one."""
    title = folder.resolve().name
    match name:
        case "tensorboard":  # steps behind the last saved state are sent again; files of one second have one name
            return {
                "run_name": name, "logging_dir": folder, "purge_step": done + 1, "filename_suffix": f".{done}",
            }  # fmt: skip
        case "mlflow":  # names its runs itself
            return {"experiment_name": PROJECT, "run_name": title if new else None, "run_id": None if new else run}
        case "trackio":
            return {"run_name": PROJECT, "name": f"{title}-{run[:8]}", "resume": "allow"}
    return {"run_name": PROJECT, "name": title, "id": run, "resume": "allow"}


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """What of a line of metrics is a number, without its step."""
    return {key: value for key, value in line.items() if key != "step" and isinstance(value, int | float)}


def described(config: TrainConfig) -> dict[str, str]:
    """The run's config, and the units of what is sent, as flat texts."""
    values = config.model_dump(mode="json", exclude={"tracker"})
    return {key: str(value) for key, value in values.items()} | {f"unit.{key}": unit for key, unit in UNITS.items()}
