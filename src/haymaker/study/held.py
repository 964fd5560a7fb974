"""The one base model that a process keeps between cells: loaded once, with adapters put on and taken off.

What a cell is given computes the same bits as a model that was loaded for it. A base of another name, extension or
precision takes the place of the one before; so does one whose files have changed, or whose adapter cannot be taken
off without a trace. What failed in the middle of something is not kept.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from haymaker.interventions.pairs import adapter_obstacle
from haymaker.models.handshake import BaseRecord
from haymaker.models.load import LanguageModel, attach_adapter, load_model
from haymaker.models.lora import remove_lora
from haymaker.models.names import find_model, hub_snapshot
from haymaker.study.bases import Base

Stamps = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Kept:
    """A loaded model, and by which files: of its base, and of the adapter that is on it."""

    base: Base
    files: Stamps
    adapter: Stamps
    lm: LanguageModel


_kept: Kept | None = None  # a process makes one cell at a time


def model_with(base: Base, adapter: Path | None = None) -> LanguageModel:
    """The base with an adapter, for a stage that leaves both as they are. Raises what `load_model` raises.

    Valid until the next call: then it may carry another adapter.
    """
    global _kept
    kept, _kept = _kept, None
    files, wanted = stamps_of(find_model(base.name) or hub_snapshot(base.name)), stamps_of(adapter)
    nothing_there = adapter is not None and not wanted  # loading it says what is wrong; it is not the base alone
    if kept is not None and ((kept.base, kept.files) != (base, files) or nothing_there):
        kept = None
    lm = None if kept is None else kept.lm if kept.adapter == wanted else swapped(kept.lm, adapter)
    if lm is None:
        kept = None
        make_room()
        lm = load_model(base.name, adapter=adapter, extend=base.extend, dtype=base.dtype)
    _kept = Kept(base, files, wanted, lm)
    return lm


def swapped(lm: LanguageModel, adapter: Path | None) -> LanguageModel | None:
    """The same base with another adapter, or with none; None where its own does not come off without a trace."""
    bare = taken_off(lm)
    if bare is not None and adapter is not None:
        attach_adapter(bare, BaseRecord.find(adapter), adapter)
    return bare


def taken_off(lm: LanguageModel) -> LanguageModel | None:
    """A model without its adapter; None where that is of a kind that leaves something behind."""
    if lm.adapter is None:
        return replace(lm)
    if adapter_obstacle(lm.model) is not None:
        return None
    return replace(lm, model=remove_lora(lm.model), adapter=None, unverified=False)


@contextmanager
def model_to_train(base: Base) -> Iterator[LanguageModel]:
    """The base without an adapter, for a block that puts one on it; the base alone is kept afterwards."""
    global _kept
    lm = model_with(base)
    kept, _kept = _kept, None
    yield lm
    bare = taken_off(lm)
    if kept is not None and bare is not None:
        _kept = replace(kept, lm=bare)


def forget() -> None:
    """Keep no model."""
    global _kept
    _kept = None


def make_room() -> None:
    """Give back the memory of a model that nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def stamps_of(place: Path | None) -> Stamps:
    """Paths, sizes and times of change of a file, or of the files in a folder: other contents have other ones."""
    if place is None:
        return ()
    place = Path(os.path.realpath(place))  # Path.resolve raises at a link to itself
    files = [place] if place.is_file() else sorted(path for path in place.glob("*") if path.is_file())
    found = ((str(path), path.stat()) for path in files)
    return tuple((name, about.st_size, about.st_mtime_ns) for name, about in found)
