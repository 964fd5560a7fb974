"""A short training on a candidate, and what is read of the model afterwards; the model is as it was in the end."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from haymaker.config import TrainConfig
from haymaker.evaluation.predictions import Evaluation, evaluate
from haymaker.heads.detection import detect_heads
from haymaker.heads.scores import HeadScores
from haymaker.models.load import LanguageModel
from haymaker.models.lora import remove_lora
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


@contextmanager
def trained(lm: LanguageModel, rows: Sequence[Encoded], config: TrainConfig) -> Iterator[float]:
    """Inside, the model has an adapter trained on the rows; gives the seconds of a step. After, it has none."""
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        train(lm, rows, config, Path(folder) / "adapter", on_progress=lambda steps: None)
        try:
            yield (time.perf_counter() - began) / config.steps
        finally:
            lm.model, lm.adapter = remove_lora(lm.model), None


def reading(lm: LanguageModel, real: Sequence[Example], metric: str, answers: bool, seconds: float = 0.0) -> Reading:
    """What the model shows as it is."""
    found = evaluate(lm, real) if answers else None
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
