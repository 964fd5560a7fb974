"""Scores of all heads on fixed rows while a model is trained: one forward of those rows at a time, kept as lines."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from haymaker.attention.hook import decoder_of
from haymaker.config import TrackConfig
from haymaker.console import note
from haymaker.errors import ConfigError, DataError
from haymaker.file_digests import file_digest
from haymaker.file_reading import read_appended
from haymaker.files import write_json, write_jsonl
from haymaker.heads.compare import ScoreFile, comparable, comparison
from haymaker.heads.detection import detect_heads
from haymaker.heads.formats import read_scores
from haymaker.heads.own_choice import map_shape
from haymaker.heads.scores import HeadScores, other_origins
from haymaker.models.handshake import weights_digest
from haymaker.models.load import LanguageModel
from haymaker.provenance import dataset_digest, positions_in_use, rows_in_use
from haymaker.records import Encoded, Example
from haymaker.tokens import encode_many
from haymaker.vocabulary import tokenizer_digest

LINES_FILE, TABLE_FILE = "tracking.jsonl", "tracking.json"


class HeadTracker:
    """Reads a model's heads at some steps, and says at the end how near they were to a reference.

    Files in `folder`: a line of mean scores [layer, head] for each reading, and at the end the table.
    """

    def __init__(self, lm: LanguageModel, rows: Iterable[Example | Encoded], config: TrackConfig, folder: Path) -> None:
        self.lm, self.config, self.folder = lm, config, folder
        self.examples = [row for row in rows if isinstance(row, Example)][: config.rows]
        self.reference = None if config.reference is None else read_scores(Path(config.reference))
        if not self.examples:
            raise DataError("track: expected Examples with spans to score heads on, found none; give a dataset")
        shape = map_shape(decoder_of(lm.model).config)
        if config.k > shape[0] * shape[1]:
            raise ConfigError(f"track.k: expected at most the {shape[0] * shape[1]} heads there are, found {config.k}")
        if self.reference is not None:  # a file of another shape is known now rather than at the end
            own = self.as_scores(np.zeros(shape).tolist())
            first, second, _ = comparable(own, self.reference)
            if (found := second.mean.shape) != (expected := first.mean.shape):
                place = f"track.reference {config.reference}"
                raise DataError(f"{place}: scores of {found} (layers, heads), and the model has {expected}")
            self.tell_reference(own, self.reference)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the readings beside the model: a run that goes on with other rows would mix them."""
        path = self.config.reference
        return {
            "rows": dataset_digest(encode_many(self.examples, self.lm.tokenizer)),
            "reference": None if path is None else file_digest(path),
        }

    def tell_reference(self, own: HeadScores, reference: ScoreFile) -> None:
        """Say in what the reference differs from what is read: the model's weights, tokens, positions; rows; metric."""
        origin = {
            "weights": weights_digest(self.lm.model),
            "tokenizer": tokenizer_digest(self.lm.tokenizer),
            "positions": positions_in_use(self.lm),
            **rows_in_use(encode_many(self.examples, self.lm.tokenizer)),
        }
        if not isinstance(reference, HeadScores):
            return
        other = [other_origins(replace(own, provenance=origin), reference)]
        if reference.metric not in (own.metric, "kv", "list"):
            other.append(f"scores by {reference.metric}, not {own.metric}")
        if said := " and ".join(filter(None, other)):
            note(f"track.reference {self.config.reference}: {said}", style="yellow")

    def keep(self, steps: int) -> None:
        """Forget readings of steps that run again."""
        path = self.folder / LINES_FILE
        kept = [line for line in self.lines() if line["step"] <= steps] if steps else []
        due = 1 + steps // self.config.every if steps else 0
        if len(kept) < due:
            note(f"{path}: holds {len(kept)} of the {due} readings until step {steps}; the others are lost", "yellow")
        write_jsonl(path, kept)

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / LINES_FILE
        return read_appended(path, {"step": int, "seconds": (int, float), "n": int, "scores": list})

    def read(self, model: Any, step: int) -> None:
        """Score the heads of a model as it stands after `step` steps."""
        started = time.perf_counter()
        scores = detect_heads(replace(self.lm, model=model), self.examples, self.config.metric)
        line = {"step": step, "seconds": time.perf_counter() - started, "n": int(scores.counted.sum())}
        mean = [[None if np.isnan(value) else float(value) for value in layer] for layer in scores.mean]
        with (self.folder / LINES_FILE).open("a") as file:
            file.write(json.dumps(line | {"scores": mean}) + "\n")

    def due(self, step: int, steps: int) -> bool:
        """Whether the heads are read after this step: the first, every so many, and the last."""
        return step % self.config.every == 0 or step == steps

    def finish(self) -> list[dict[str, Any]]:
        """The table: a row for each reading, compared with the reference or with the last of them."""
        lines = self.lines()
        maps = [self.as_scores(line["scores"]) for line in lines]
        rows = []
        for line, own in zip(lines, maps, strict=True):
            first, second, _ = comparable(own, self.reference or maps[-1])
            found = comparison(first, second, self.config.threshold, self.config.k)
            rows.append(with_nulls({
                "step": line["step"], "metric": self.config.metric, "reference": self.config.reference or "end",
                **{key: found[key] for key in ("cosine", "recall", "overlap", "k", "threshold", "active")},
                **{key: value for key, value in found.items() if key.endswith(("_null", "_percentile", "_p"))},
                "n": line["n"], "seconds": line["seconds"],
            }))  # fmt: skip
        write_json(self.folder / TABLE_FILE, rows)
        return rows

    def as_scores(self, values: Sequence[Sequence[float | None]]) -> HeadScores:
        try:
            mean = np.array([[np.nan if value is None else float(value) for value in layer] for layer in values])
        except (TypeError, ValueError):
            raise DataError(
                f"{self.folder / LINES_FILE}: a line's scores are no map of heads; train with overwrite"
            ) from None
        return HeadScores(mean[None], ("tracked rows",), self.config.metric)


def with_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """A row of which JSON knows all: null for a likeness that maps without a score above 0 do not have."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
