"""HeadScores: one number per example and head, with what a study asks of them. Pure: no torch, no model."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from haymaker.console import note
from haymaker.errors import ConfigError, DataError
from haymaker.file_reading import read_bytes, read_json, required, texts_of
from haymaker.files import whole_files, write_json
from haymaker.records import Head, digest
from haymaker.stats import Interval, bootstrap_grid, hoyer, split_half, top_stability

if TYPE_CHECKING:
    import pandas

    import haymaker.charts.chart

SHOWN = 3  # heads that scores name when they show themselves


@dataclass(frozen=True, eq=False, repr=False)
class HeadScores:
    """Scores [example, layer, head] and how they were made; shares and masses are 0 to 1, `write` is in logits.

    NaN is no score: the head could not see the needle, or the example does not count. Means leave it out and `counts`
    tells of how many examples they are. Comparisons read the means of two models of one shape, over the heads that have
    one in both; heads are matched by index, as both descend from one base (Zhao et al. 2025, section 4).

    Attributes:
        values: The scores [example, layer, head].
        example_ids: One for each example.
        metric: What was measured.
        provenance: What decides the values: model, weights, tokenizer, rows, versions.

    Raises:
        DataError: No example or head, another number of ids than of rows, or a score that is infinite.

    Examples:
        >>> scores = hm.HeadScores(np.array([[[0.2, 0.9]], [[0.4, np.nan]]]), ("a", "b"), "mine")
        >>> scores.top(1), scores.active(0.5)
        ([Head(layer=0, head=1)], {Head(layer=0, head=1)})
    """

    values: Float[ndarray, "example layer head"]
    example_ids: tuple[str, ...]
    metric: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.values.shape
        if len(shape) != 3 or not all(shape):
            raise DataError(f"head scores are [example, layer, head], at least one of each: found the shape {shape}")
        if len(self.values) != len(self.example_ids):
            raise DataError(
                f"head scores need one row per example, at least one: found {len(self.values)} rows "
                f"for {len(self.example_ids)} examples"
            )
        if np.isinf(self.values).any():
            raise DataError(f"head scores of {self.metric}: {int(np.isinf(self.values).sum())} values are infinite")

    def __repr__(self) -> str:
        examples, layers, heads = self.values.shape
        best = ", ".join(f"{head} {self.mean[head]:.2f}" for head in self.best(SHOWN))
        best = best or ("none above 0" if self.counts.any() else "none scored")
        return f"HeadScores({self.metric}: {examples} examples, {layers} layers x {heads} heads; best {best})"

    def _repr_html_(self) -> str:
        """The map, without a network and without Vega in the notebook."""
        return self.plot(SHOWN).html()

    def to_pandas(self) -> "pandas.DataFrame":
        """A pandas frame with a row per head: layer, head, score, low and high (95 %), n examples."""
        from pandas import DataFrame

        low, high = self.interval()
        layer, head = np.indices(self.mean.shape)
        columns = {"layer": layer, "head": head, "score": self.mean, "low": low, "high": high, "n": self.counts}
        return DataFrame({name: grid.ravel() for name, grid in columns.items()})

    @cached_property
    def counts(self) -> Int[ndarray, "layer head"]:
        """Of how many examples each mean is."""
        return (~np.isnan(self.values)).sum(axis=0)

    @property
    def counted(self) -> Bool[ndarray, " example"]:
        """Which examples give any head a score; the published script leaves out those with a wrong answer."""
        return np.asarray(~np.isnan(self.values).all(axis=(1, 2)))

    @property
    def above_one(self) -> int:
        """How many values exceed 1: none of a share; the published script counts hits, so its files hold some."""
        return int((self.values > 1).sum())

    @cached_property
    def mean(self) -> Float[ndarray, "layer head"]:
        """The score of each head: its mean over the examples that have one; NaN where none has."""
        if (self.counts == len(self.values)).all():
            return self.values.mean(axis=0, dtype=np.float64)
        totals = np.where(np.isnan(self.values), 0, self.values).sum(axis=0, dtype=np.float64)
        return np.where(self.counts > 0, totals / np.maximum(self.counts, 1), np.nan)

    @property
    def provenance_hash(self) -> str:
        """One digest of metric, examples and provenance: of what decides the values."""
        return digest([self.metric, self.example_ids, self.provenance])

    def interval(
        self, confidence: float = 0.95, seed: int = 0
    ) -> tuple[Float[ndarray, "layer head"], Float[ndarray, "layer head"]]:
        """Bounds of the mean of every head, bootstrapped over the examples that are counted; NaN without any."""
        if not self.counted.any():
            return np.full_like(self.mean, np.nan), np.full_like(self.mean, np.nan)
        return bootstrap_grid(self.values[self.counted], confidence, seed=seed)

    def ranked(self) -> list[Head]:
        """All heads that have a score, highest mean first; ties go to the lower layer and head.

        Raises DataError where no head has one.
        """
        order = np.argsort(-self.mean.ravel(), kind="stable")  # NaN comes last
        scored = [Head(*divmod(int(i), self.mean.shape[1])) for i in order if self.counts.ravel()[i]]
        if not scored:
            raise DataError(
                f"none of the {len(self.values)} examples gives a head a score by {self.metric}: their answers missed "
                "the needle or cite (for `insight`) none of its documents, or no head sees it; score rows that the "
                "model answers, or use another metric"
            )
        return scored

    def top(self, k: int) -> list[Head]:
        """The k heads with the highest means, or as many as have one. Raises ConfigError for a k that is none."""
        check_count(k, "heads")
        return self.ranked()[:k]

    def best(self, k: int) -> list[Head]:
        """Those of the top k that score above 0, which are findings; none where nothing was scored."""
        check_count(k, "heads")
        return [head for head in self.ranked()[:k] if self.mean[head] > 0] if self.counts.any() else []

    def active(self, threshold: float = 0.0) -> set[Head]:
        """Heads whose mean exceeds `threshold`."""
        return {Head(int(layer), int(head)) for layer, head in zip(*np.nonzero(self.mean > threshold), strict=True)}

    def cosine(self, other: "HeadScores") -> float:
        """Cosine of the two vectors of means over all heads, at most 1; NaN if one is zero."""
        a, b = self._beside(other)
        return cosine_of(a, b)

    def spearman(self, other: "HeadScores") -> float:
        """Spearman's rank correlation of the two vectors of means, ties sharing ranks; NaN if one is constant."""
        from scipy.stats import rankdata  # half a second, for those who ask

        a, b = self._beside(other)
        if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            return float("nan")
        return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])

    def recall(self, reference: "HeadScores", threshold: float = 0.0) -> float:
        """Share of the reference's active heads that are active here; NaN if it has none."""
        self._beside(reference)
        return share(self.active(threshold), reference.active(threshold))

    def subset(self, reference: "HeadScores", threshold: float = 0.0) -> float:
        """Share of the heads active here that are active in the reference: 1 where they are a subset."""
        return reference.recall(self, threshold)

    def overlap(self, other: "HeadScores", k: int) -> float:
        """Share of the top k heads that both have in common. Raises ConfigError for a k that there are not."""
        self._beside(other)
        check_k(k, self, other)
        return len(set(self.top(k)) & set(other.top(k))) / k

    def reliability(self, seed: int = 0) -> float:
        """Split-half reliability over examples: the ceiling of any agreement between two score maps.

        Of the examples that are counted and the heads that each of them gives a score; NaN where there are too few.
        """
        counted = self.values[self.counted]
        whole = ~np.isnan(counted).any(axis=0)
        if len(counted) < 2 or not whole.any():
            return float("nan")
        return split_half(counted[:, whole][:, None], seed=seed)

    def stability(self, k: int, seed: int = 0) -> Interval:
        """Share of the top k heads that random halves of the counted examples have in common, with 95 % of halves."""
        check_k(k, self)
        return top_stability(self.values[self.counted], k, seed=seed)

    def sparsity(self) -> float:
        """Hoyer's index of the means: 0 where all heads score alike, 1 where one has all; NaN of zeros alone."""
        return hoyer(self.mean)

    def plot(self, k: int = 0) -> "haymaker.charts.chart.Chart":
        """A map of the means with their intervals, the k best (`best`) outlined: a notebook shows it, and
        `.save("heads.html")`, .png or .svg keeps it, without a network."""
        from haymaker.charts.heads import head_map

        unit = f" ({self.provenance['unit']})" if "unit" in self.provenance else ""
        low, high = self.interval()
        return head_map(self.mean, low, high, f"{self.metric}{unit}", outlined=self.best(k))

    def _beside(self, other: "HeadScores") -> tuple[ndarray, ndarray]:
        """The means of both of every head that has one in both. Raises DataError for scores of two shapes; says once
        what else is not alike."""
        if self.mean.shape != other.mean.shape:
            raise DataError(
                f"head scores of two shapes, {self.mean.shape} and {other.mean.shape} (layers, heads), cannot be "
                "compared: heads are matched by index"
            )
        tell_other_origins(self, other)
        both = (self.counts > 0) & (other.counts > 0)
        return self.mean[both], other.mean[both]

    @staticmethod
    def files(path: str | Path) -> tuple[Path, Path]:
        """What `save` writes: `path` (safetensors), and what the scores are about in .json beside it.

        Raises ConfigError where both would have one name, and for a name of another format.
        """
        path = Path(path)
        if path.suffix not in ("", ".json", ".safetensors"):
            raise ConfigError(f"{path}: scores are written as safetensors; give a name in .safetensors (or a --format)")
        if path.suffix == ".json" or not path.name:
            raise ConfigError(f"{path}: a summary in .json is written beside the scores; give a name in .safetensors")
        return path, path.with_suffix(".json")

    def save(self, path: str | Path) -> None:
        """Write the two `files` of `path`, both at once or neither."""
        path, summary = self.files(path)
        about = {"metric": self.metric, "example_ids": self.example_ids, "provenance": self.provenance}
        about |= {"provenance_hash": self.provenance_hash, "counted": int(self.counted.sum())}
        top = {str(head): round(float(self.mean[head]), 6) for head in self.best(20)}
        values = np.where(np.isnan(self.values), np.nan, self.values)  # NaN has many spellings: one in files
        content = save({"values": values.astype(np.float32)})
        about["sha256"] = hashlib.sha256(content).hexdigest()
        with whole_files(path.parent) as scratch:
            (scratch / path.name).write_bytes(content)
            write_json(scratch / summary.name, {**about, "top": top})

    @classmethod
    def load(cls, path: str | Path) -> "HeadScores":
        """Read what `save` wrote; `read_scores` reads files of others too.

        Raises DataError where one of the two files is missing, broken, or not the one that was written.
        """
        path = Path(path)
        try:
            content = read_bytes(path)
            values = load(content)["values"]
        except OSError as error:
            raise DataError(f"{path}: head scores cannot be read ({error.strerror or error})") from None
        except (SafetensorError, KeyError, ValueError) as error:
            raise DataError(f"{path}: not head scores as `haymaker heads` writes them ({error})") from None
        return cls.described(values, path.with_suffix(".json"), hashlib.sha256(content).hexdigest())

    @classmethod
    def described(cls, values: ndarray, summary: Path, sha256: str) -> "HeadScores":
        """The values with what the file beside them says of them, which must be of these bytes."""
        about = read_json(summary, "copy both files of the scores, or run `haymaker heads` again")
        place = str(summary)
        metric, provenance = required(about, "metric", str, place), required(about, "provenance", dict, place)
        if about.get("sha256", sha256) != sha256:
            raise DataError(f"{place}: is of other scores than those beside it, or one was changed; copy both files")
        try:
            found = cls(values, tuple(texts_of(about, "example_ids", place)), metric, provenance)
        except DataError as error:
            raise DataError(f"{summary.with_suffix('.safetensors').name}, {place}: {error}") from None
        if about.get("provenance_hash", found.provenance_hash) != found.provenance_hash:
            raise DataError(f"{place}: its provenance is not that of its hash, so it was changed; copy both files")
        return found


def check_count(k: Any, kind: str) -> None:
    """Raise ConfigError for a k that is no number of heads."""
    if not isinstance(k, Integral) or k < 0:
        raise ConfigError(f"k: expected a number of {kind}, from 0, found {k}")


def check_k(k: int, *several: HeadScores) -> None:
    """Raises ConfigError for a number of top heads that is not between 1 and the heads that have a score in all."""
    most = min(len(scores.ranked()) for scores in several)
    if not 1 <= k <= most:
        raise ConfigError(f"k: expected 1 to {most}, the number of heads with a score, found {k}")


def cosine_of(first: ndarray, second: ndarray) -> float:
    """Cosine of two vectors, computed in float64 and never beyond -1 to 1; NaN if one is zero."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.clip(a @ b / norms, -1, 1)) if norms else float("nan")


def share(found: set[Head], wanted: set[Head]) -> float:
    """Share of `wanted` that was found; NaN of nothing."""
    return len(found & wanted) / len(wanted) if wanted else float("nan")


def jaccard(first: set[Head], second: set[Head]) -> float:
    """Size of the intersection over that of the union; NaN of two empty sets."""
    return share(first & second, first | second)


# ---- two of them


ORIGINS = {
    "weights": "of other weights",
    "tokenizer": "of another tokenizer",
    "dataset": "of other rows",
    "positions": "of another context extension",
    "donor": "of another donor",
    "scope": "of another scope",
    "answer": "of gold and of own answers",
}
_TOLD: WeakKeyDictionary[HeadScores, set[str]] = WeakKeyDictionary()


def other_origins(first: HeadScores, second: HeadScores) -> str:
    """In what the models and rows of two maps differ, in words; empty where nothing is known to.

    Adapters may differ, and what is marked in the same prompts where one of the two does not read it, as a causal map.
    """
    a, b = first.provenance, second.provenance
    words = ORIGINS | ({"needle": "of other needles"} if first.metric == second.metric else {})
    other = {key: said for key, said in words.items() if key in a and key in b and a[key] != b[key]}
    if "dataset" in other and a.get("prompts", a) == b.get("prompts"):
        del other["dataset"]
        if "needle" in a and "needle" in b:
            other["needle"] = "of the same prompts with other needles marked"
    return " and ".join(other.values())


def tell_other_origins(first: HeadScores, second: HeadScores, names: str = "") -> None:
    """Say so of two maps that are compared, once."""
    known = _TOLD.setdefault(first, set())
    if second.provenance_hash not in known and (said := other_origins(first, second)):
        known.add(second.provenance_hash)
        note(f"{names or f'head scores by {first.metric} and by {second.metric}'} are {said}", style="yellow")
