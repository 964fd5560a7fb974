"""The folder of a run: whose state it holds, and that no two runs write it at once."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from haymaker import __version__
from haymaker.config import TrainConfig
from haymaker.console import note
from haymaker.errors import DataError
from haymaker.file_locks import drop_lock, take_lock
from haymaker.models.adapter_card import CARD_FILE
from haymaker.models.handshake import BASE_FILE, LIBRARIES, library_versions
from haymaker.models.lora import ADAPTER_FILES
from haymaker.models.precision import computed_by
from haymaker.training.parallel import World
from haymaker.training.state import METRICS_FILE, STATE_FILE, read_state_header
from haymaker.training.trackers import TRACKER_FILE

RECORD_FILE = "training.json"
POSITIONS, TRACKED = "context extension", "tracking"  # of a run's identity
NEWER = (POSITIONS, TRACKED)  # what runs of earlier versions say nothing of
TRACKING_FILES = ("tracking.jsonl", "tracking.json", TRACKER_FILE)


@contextmanager
def held_folder(folder: Path, world: World, overwrite: bool) -> Iterator[None]:
    """Inside the block no other call trains into `folder`, which is there, without a run if `overwrite`.

    Raises DataError where another one does: workers of a launcher that was killed may still be at work.
    """
    lock = world.by_first(lambda: taken(folder, overwrite))
    try:
        yield
    finally:
        if lock is not None:
            drop_lock(lock)


def taken(folder: Path, overwrite: bool) -> Any:
    busy = DataError(f"{folder}: another process is training into it; wait until it ends, or give another folder")
    lock = take_lock(folder.with_name(f".{folder.name}.lock"), busy)
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        clear(folder)
    return lock


def clear(folder: Path) -> None:
    """Forget a run; other files of the folder stay."""
    for name in (RECORD_FILE, STATE_FILE, METRICS_FILE, BASE_FILE, CARD_FILE, *TRACKING_FILES, *ADAPTER_FILES):
        (folder / name).unlink(missing_ok=True)


def refuse_other_run(folder: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    known = {key: identity[key] for key in NEWER if key in identity} | dict(before)
    if changed := [key for key in identity if known.get(key) != identity[key]]:
        raise DataError(
            f"{folder}: holds a run with another {' and another '.join(changed)}, so it cannot go on; "
            "give another folder, or overwrite to start again"
        )


def steps_done(folder: Path, identity: Mapping[str, Any], world: World, config: TrainConfig) -> int:
    """Steps of the state that `folder` holds, 0 where there is none.

    Raises DataError where it is another run's, or of other processes, and where this run's own are not of one mind.
    """
    header = read_state_header(folder)
    if not world.agree([header and header[0], identity]):
        raise DataError(
            f"{folder}: the processes of this run have not the same model, rows and config, or see other states here; "
            "start all of them by the same command, with the folder on a disk that they share"
        )
    if header is None:
        return 0
    steps, before = header
    refuse_other_run(folder, before, identity)
    refuse_other_processes(folder, before["processes"], processes_of(world, config))
    return steps


def processes_of(world: World, config: TrainConfig) -> dict[str, Any]:
    """Who computes a run: where this changes, sums are rounded in another order."""
    return {"processes": world.size, "context_parallel": world.context, "shard": config.shard}


def refuse_other_processes(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if before != now:
        found, wanted = (", ".join(f"{key} {value}" for key, value in one.items()) for one in (before, now))
        raise DataError(
            f"{folder}: its state was left by a run of {found}, and this one has {wanted}: sums would be rounded in "
            "another order, and end in other bits; start it as before, or overwrite to start again"
        )


# ---- by which versions and machines a run was computed


def computers(folder: Path, model: Any, tells: bool = True) -> list[dict[str, Any]]:
    """What has computed the run of `folder` so far, in order, and last what computes it now.

    Raises DataError where the state was left by other versions of the libraries that compute. Another Haymaker, machine
    or number of threads is told.
    """
    now = computed_by(model) | {"haymaker": __version__} | library_versions()
    header = read_state_header(folder)
    if header is None:
        return [now]
    before = header[1].get("computers")
    if not before:
        raise DataError(
            f"{folder}: its state does not say which versions computed it, so it cannot go on as it began; "
            "give another folder, or overwrite to start again"
        )
    if other := differences(before[-1], now, LIBRARIES):
        raise DataError(
            f"{folder}: its state was left by {other}: the rest of the run would not be computed as it began; install "
            "those versions, or overwrite to start again"
        )
    if before[-1] == now:
        return before
    if tells and (other := differences(before[-1], now, now)):
        note(f"{folder}: goes on, but its state was left by {other}; it may end in other bits", "yellow")
    return [*before, now]


def differences(before: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> str:
    """What of `keys` has changed, in words; empty where nothing has."""
    changed = [key for key in keys if before.get(key) != now[key]]
    return ", ".join(f"{key} {before.get(key)} (here {now[key]})" for key in changed)
