"""What the table of equivalences is made of: named differences, each for one tiny random architecture."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "heads"))  # the published rule, written anew
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_models import BUILDERS, WINDOW, logits, tiny_model, tokens

ARCHITECTURES = list(BUILDERS)
__all__ = ["ARCHITECTURES", "WINDOW", "Law", "eager", "furthest", "law", "logits", "tiny_model", "tokens", "unequal"]

Difference = Callable[[str], float | None]


@dataclass(frozen=True)
class Law:
    """A difference that must stay at or under `bound`; with `apart` one that must stay above it, for what is not the
    same and is taken for the same. The difference is None where an architecture has nothing to compare; `once` marks
    one that is of no architecture."""

    number: str  # of heads.md, section 7
    says: str
    bound: float
    difference: Difference
    apart: bool = False
    once: bool = False

    def holds(self, found: float) -> bool:
        return found > self.bound if self.apart else found <= self.bound


LAWS: list[Law] = []


def law(
    number: str, says: str, bound: float = 0.0, *, apart: bool = False, once: bool = False
) -> Callable[[Difference], Difference]:
    """Enters a function of an architecture's name into the table."""

    def enter(difference: Difference) -> Difference:
        LAWS.append(Law(number, says, bound, difference, apart, once))
        return difference

    return enter


def furthest(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference; inf where one is NaN and the other is not."""
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    found = torch.where(same, 0.0, (ours.double() - theirs.double()).abs())
    return float(found.nan_to_num(torch.inf).max())


def unequal(ours: Tensor, theirs: Tensor) -> float:
    """How many entries differ."""
    return float((ours != theirs).sum())


@contextmanager
def eager(model: Any) -> Iterator[None]:
    """The model with the attention that returns weights."""
    backend = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(backend)
