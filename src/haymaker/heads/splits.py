"""Head scores as a table, and split into heads that retrieve and heads that stream (DuoAttention's two kinds)."""

import csv
import io
import json
from dataclasses import dataclass

import numpy as np

from haymaker.errors import ConfigError, DataError
from haymaker.heads.scores import HeadScores
from haymaker.records import Head

COLUMNS = ("layer", "head", "score", "low", "high", "n")
CSV_START = ",".join(COLUMNS[:3])


@dataclass(frozen=True)
class Split:
    """KV heads that keep the whole context, and those that keep its ends only, best first."""

    retrieval: tuple[str, ...]
    streaming: tuple[str, ...]
    fraction: float


def split(values: np.ndarray, fraction: float) -> Split:
    """The best `fraction` of heads [layer, head], rounded to whole heads, and the others.

    Raises ConfigError for a fraction beyond 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise ConfigError(f"fraction: expected a share of heads, 0 to 1, found {fraction}")
    order = np.argsort(-values.ravel(), kind="stable")
    names = [str(Head(*divmod(int(i), values.shape[1]))) for i in order]
    count = round(fraction * len(names))
    return Split(tuple(names[:count]), tuple(names[count:]), fraction)


def split_text(values: np.ndarray, metric: str, fraction: float) -> str:
    """The split as JSON: names of KV heads, and a matrix [layer][KV head] with 1 for those that retrieve."""
    found = split(values, fraction)
    mask = np.zeros(values.shape, int)
    for name in found.retrieval:
        mask[Head.parse(name)] = 1
    told = {
        "kind": "kv_heads",
        "metric": metric,
        "fraction": fraction,
        "retrieval": found.retrieval,
        "streaming": found.streaming,
        "retrieval_mask": mask.tolist(),
    }
    return json.dumps(told, indent=1) + "\n"


def csv_text(scores: HeadScores) -> str:
    """A line per head: layer, head, score, low, high (95 %), n; cells of heads without a score are empty."""
    low, high = scores.interval()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for at in np.ndindex(*scores.mean.shape):
        numbers = (scores.mean[at], low[at], high[at])
        cells = ("" if np.isnan(number) else repr(float(number)) for number in numbers)
        writer.writerow((*at, *cells, int(scores.counts[at])))
    return file.getvalue()


def from_csv(text: str, where: str) -> HeadScores:
    """The means that `csv_text` wrote, as the scores of one example. Raises DataError for another table."""
    try:
        rows = [(int(row["layer"]), int(row["head"]), row["score"]) for row in csv.DictReader(io.StringIO(text))]
        values = np.full((1, max(row[0] for row in rows) + 1, max(row[1] for row in rows) + 1), np.nan)
        for layer, head, score in rows:
            values[0, layer, head] = float(score) if score else np.nan
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{where}: expected a line per head of {', '.join(COLUMNS)}, found otherwise ({error})"
        ) from None
    if len({row[:2] for row in rows}) != values.size or len(rows) != values.size:
        raise DataError(f"{where}: expected each of {values.shape[1:]} (layers, heads) once, found {len(rows)} lines")
    return HeadScores(values, ("mean",), "csv", {"format": "csv"})
