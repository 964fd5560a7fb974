"""A short training on a candidate, and what is read of the model afterwards; the model is as it was in the end."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from haymaker.config import TrainConfig
from haymaker.errors import Interrupted
from haymaker.evaluation.predictions import Evaluation, evaluate, prediction_of
from haymaker.heads.detection import detect_heads
from haymaker.heads.scores import HeadScores
from haymaker.kept import Codec, Kept, keeping, read_array, written_array
from haymaker.models.load import LanguageModel
from haymaker.models.lora import remove_lora
from haymaker.provenance import dataset_digest, kept_inputs, refuse_inside_blocks
from haymaker.records import Encoded, Example
from haymaker.tokens import encode_many
from haymaker.training.answer_rows import answer_loss, best_method
from haymaker.training.batches import lay_out
from haymaker.training.loop import train


@dataclass(frozen=True)
class Reading:
    """What a model shows on the real rows: head scores, the loss of each row, its answers; and how long a step took."""

    scores: HeadScores
    losses: Float[ndarray, " row"]
    answers: Evaluation | None
    seconds_a_step: float


# ---- probes that are kept


def written(found: Reading) -> dict[str, Any]:
    """A probe as JSON: its numbers are exact, of the scores' origin nothing stays."""
    answers = None if found.answers is None else [asdict(one) for one in found.answers.predictions]
    scores = {
        "values": list(map(written_array, found.scores.values)),
        "example_ids": found.scores.example_ids,
        "metric": found.scores.metric,
    }
    return {"scores": scores, "losses": found.losses.tolist(), "answers": answers, "seconds": found.seconds_a_step}


def read(kept: dict[str, Any]) -> Reading:
    """What `written` wrote."""
    values = np.stack(list(map(read_array, kept["scores"]["values"])))
    scores = HeadScores(values, tuple(kept["scores"]["example_ids"]), kept["scores"]["metric"])
    answers = None if kept["answers"] is None else Evaluation(tuple(map(prediction_of, kept["answers"])))
    return Reading(scores, np.array(kept["losses"]), answers, kept["seconds"])


def kept_probes(
    keep: str | Path | None,
    lm: LanguageModel,
    held: Sequence[Example],
    sets: Mapping[str, Sequence[Encoded]],
    config: TrainConfig,
    **options: Any,
) -> AbstractContextManager[Kept[Reading]]:
    """The probes of an untrained model and of these sets of rows, read on the rows `held` and kept in the file `keep`
    as they are done; nowhere without one. `options` is all that decides them besides.

    Raises ConfigError inside a block that edits the model.
    """
    if keep is None:
        return nullcontext(Kept())
    refuse_inside_blocks(lm, keep)
    rows = {f"rows of {name}": dataset_digest(items) for name, items in sets.items()}
    options |= {"config": config.model_dump(mode="json")}
    inputs = kept_inputs(lm, encode_many(held, lm.tokenizer)) | rows | options
    return keeping(Path(keep), inputs, 1 + len(sets), "probes", Codec(written, read))


# ---- one probe


@contextmanager
def trained(lm: LanguageModel, rows: Sequence[Encoded], config: TrainConfig) -> Iterator[float]:
    """Inside, the model has an adapter trained on the rows; gives the seconds of a step. After, it has none."""
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        try:
            train(lm, rows, config, Path(folder) / "adapter", on_progress=lambda steps: None)
        except Interrupted:  # whose sentence names a folder that goes
            raise KeyboardInterrupt from None
        try:
            yield (time.perf_counter() - began) / config.steps
        finally:
            lm.model, lm.adapter = remove_lora(lm.model), None


def reading(
    lm: LanguageModel, real: Sequence[Example], metric: str, new_tokens: int | None, seconds: float = 0.0
) -> Reading:
    """What the model shows as it is; its answers of so many tokens, or none."""
    found = None if new_tokens is None else evaluate(lm, real, new_tokens)
    return Reading(detect_heads(lm, real, metric), losses(lm, real), found, seconds)


def losses(lm: LanguageModel, real: Sequence[Example]) -> Float[ndarray, " row"]:
    """Nats per answer token of every row."""
    method = best_method(lm.model)
    found = []
    with torch.inference_mode():
        for item in encode_many(real, lm.tokenizer):
            total = answer_loss(lm.model, lay_out([item], lm.device), method)
            found.append(float(total) / len(item.answer_rows))
    return np.array(found)
