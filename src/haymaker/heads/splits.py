"""Head scores as a table, and split into heads that retrieve and heads that stream (DuoAttention's two kinds)."""

import csv
import io
import json
from dataclasses import dataclass
from math import isinf

import numpy as np

from haymaker.errors import ConfigError, DataError
from haymaker.heads.scores import HeadScores
from haymaker.records import Head

COLUMNS = ("layer", "head", "score", "low", "high", "n")
CSV_START = ",".join(COLUMNS[:3])
SPLIT_MARK = '"retrieval_mask":'  # of a split's text, and of no scores


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
        lines = list(csv.DictReader(io.StringIO(text)))
        rows = {(int(row["layer"]), int(row["head"])): float(row["score"] or "nan") for row in lines}
        shape = max(layer for layer, _ in rows) + 1, max(head for _, head in rows) + 1
    except (TypeError, ValueError, KeyError, csv.Error) as error:
        raise DataError(
            f"{where}: expected a line per head of {', '.join(COLUMNS)}, found otherwise ({error})"
        ) from None
    # Before an array is made: a large number in a broken file would ask for more memory than there is.
    if min(min(rows)) < 0 or not len(lines) == len(rows) == shape[0] * shape[1]:
        raise DataError(f"{where}: expected each of {shape} (layers, heads) once, found {len(lines)} lines")
    if any(map(isinf, rows.values())):
        raise DataError(f"{where}: expected finite scores, found an infinite one")
    values = np.array([[rows[layer, head] for head in range(shape[1])] for layer in range(shape[0])])
    return HeadScores(values[None], ("mean",), "csv", {"format": "csv"})
