"""HeadScores: one number per example and head, with what a study asks of them. Pure: no torch, no model."""

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from safetensors.numpy import load, save

from haymaker.errors import DataError
from haymaker.records import Head
from haymaker.stats import bootstrap_grid, split_half


@dataclass(frozen=True, eq=False)
class HeadScores:
    """Scores [example, layer, head], 0 to 1, and how they were made.

    Comparisons read the means over examples of two models of one shape; heads are matched by index, as both descend
    from one base (Zhao et al. 2025, section 4).
    """

    values: Float[ndarray, "example layer head"]
    example_ids: tuple[str, ...]
    metric: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.values) != len(self.example_ids) or not len(self.values):
            raise DataError(
                f"head scores need one row per example, at least one: found {len(self.values)} rows "
                f"for {len(self.example_ids)} examples"
            )

    @cached_property
    def mean(self) -> Float[ndarray, "layer head"]:
        """The retrieval score of each head: its mean over examples."""
        return self.values.mean(axis=0)

    def interval(
        self, confidence: float = 0.95, seed: int = 0
    ) -> tuple[Float[ndarray, "layer head"], Float[ndarray, "layer head"]]:
        """Bounds of the mean of every head, bootstrapped over examples."""
        return bootstrap_grid(self.values, confidence, seed=seed)

    def ranked(self) -> list[Head]:
        """All heads, highest mean first; ties go to the lower layer and head."""
        order = np.argsort(-self.mean.ravel(), kind="stable")
        return [Head(*divmod(int(i), self.mean.shape[1])) for i in order]

    def top(self, k: int) -> list[Head]:
        """The k heads with the highest means."""
        return self.ranked()[:k]

    def active(self, threshold: float = 0.0) -> set[Head]:
        """Heads whose mean exceeds `threshold`."""
        return {Head(int(layer), int(head)) for layer, head in zip(*np.nonzero(self.mean > threshold), strict=True)}

    def cosine(self, other: "HeadScores") -> float:
        """Cosine of the two vectors of means over all heads; NaN if one is zero."""
        a, b = self._beside(other)
        norms = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / norms) if norms else float("nan")

    def recall(self, reference: "HeadScores", threshold: float = 0.0) -> float:
        """Share of the reference's active heads that are active here; NaN if it has none."""
        self._beside(reference)
        return share(self.active(threshold), reference.active(threshold))

    def subset(self, reference: "HeadScores", threshold: float = 0.0) -> float:
        """Share of the heads active here that are active in the reference: 1 where they are a subset."""
        return reference.recall(self, threshold)

    def overlap(self, other: "HeadScores", k: int) -> float:
        """Share of the top k heads that both have in common."""
        self._beside(other)
        return len(set(self.top(k)) & set(other.top(k))) / k

    def reliability(self, seed: int = 0) -> float:
        """Split-half reliability over examples: the ceiling of any agreement between two score maps."""
        return split_half(self.values, seed=seed)

    def _beside(self, other: "HeadScores") -> tuple[ndarray, ndarray]:
        if self.mean.shape != other.mean.shape:
            raise DataError(
                f"head scores of two shapes, {self.mean.shape} and {other.mean.shape} (layers, heads), cannot be "
                "compared: heads are matched by index"
            )
        return self.mean.ravel(), other.mean.ravel()

    def save(self, path: str | Path) -> None:
        """Write `path` (safetensors) and `path` with .json beside it, both at once or neither."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"metric": self.metric, "example_ids": self.example_ids, "provenance": self.provenance}
        top = {str(head): round(float(self.mean[head]), 6) for head in self.top(20)}
        for target, content in (
            (path, save({"values": self.values.astype(np.float32)})),
            (path.with_suffix(".json"), json.dumps({**about, "top": top}, indent=1).encode()),
        ):
            temporary = target.with_name(target.name + ".tmp")
            temporary.write_bytes(content)
            os.replace(temporary, target)

    @classmethod
    def load(cls, path: str | Path) -> "HeadScores":
        """Read what `save` wrote. Raises DataError where one of the two files is missing or broken."""
        path = Path(path)
        try:
            values = load(path.read_bytes())["values"]
            about = json.loads(path.with_suffix(".json").read_text())
            return cls(values, tuple(about["example_ids"]), about["metric"], about["provenance"])
        except OSError as error:
            raise DataError(f"{error.filename}: head scores cannot be read ({error.strerror})") from None
        except (KeyError, ValueError) as error:
            raise DataError(f"{path}: not head scores as `haymaker heads` writes them ({error})") from None


def share(found: set[Head], wanted: set[Head]) -> float:
    """Share of `wanted` that was found; NaN of nothing."""
    return len(found & wanted) / len(wanted) if wanted else float("nan")
