"""Laws of the detectors, on the packaged miniature model: each is found once, on one model."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from equivalences import eager, law
from test_wu_oracle import published, row

from haymaker.heads.detection import detect_heads
from haymaker.heads.formats import KVScores, read_scores, write_scores
from haymaker.heads.null_query import asked_rows, null_example
from haymaker.heads.scores import HeadScores
from haymaker.models.load import LanguageModel, load_model
from haymaker.records import Example, Label, Segment
from haymaker.tokens import encode

TRIALS = 5


@cache
def miniature() -> LanguageModel:
    return load_model("miniature-llama", dtype="float32")


@cache
def trials() -> tuple[HeadScores, list[np.ndarray | None]]:
    """Ours, and an independent reading of the published script: eager decoding, a head at a time."""
    lm, rows = miniature(), [row(number) for number in range(TRIALS)]
    ours = detect_heads(lm, rows, metric="copy_wu2024")
    with eager(lm.model):
        return ours, [published(lm, one) for one in rows]


@law("6", f"copy_wu2024 against an oracle of the published script, {TRIALS} trials: counted hits", once=True)
def wu_trials(_: str) -> float:
    ours, theirs = trials()
    kept = [trial for trial in theirs if trial is not None]
    return float(np.abs(ours.values[ours.counted] - np.stack(kept).astype(np.float32)).max())


@law("6", "the same: trials that pass the gate in one and not in the other", once=True)
def wu_gate(_: str) -> float:
    ours, theirs = trials()
    return float(sum(bool(a) != (b is not None) for a, b in zip(ours.counted, theirs, strict=True)))


@law("7", "calibrated mass (question less null question, shared prefix) against eager softmax", 1e-5, once=True)
def calibrated(_: str) -> float:
    lm, rows = miniature(), [with_question(row(number)) for number in range(3)]
    ours = detect_heads(lm, rows, metric="mass_calibrated", needle=("evidence",))
    theirs = [eager_mass(lm, one) - eager_mass(lm, null_example(one)) for one in rows]
    return float(np.abs(ours.values - torch.stack(theirs).numpy()).max())


def with_question(example: Example) -> Example:
    """The same with its question labelled."""
    (message,) = example.messages
    parts = [Segment("Question: "), Segment(example.question, (Label("question"),)), Segment("\nAnswer:")]
    return replace(example, messages=(replace(message, segments=(*message.segments[:-1], *parts)),))


def eager_mass(lm: LanguageModel, example: Example) -> Any:
    """Mean mass [layer, head] on the evidence, over the prompt's rows from the question on."""
    encoded = encode(example, lm.tokenizer)
    (needle,) = encoded.spans["evidence"]
    with eager(lm.model):
        found = lm.model(input_ids=torch.tensor([encoded.prompt_ids]), output_attentions=True).attentions
    weights = torch.stack(found)[:, 0][:, :, asked_rows(encoded)]
    return weights[..., needle.slice].sum(-1).mean(-1)


@law("8", "written and read again: Wu JSON, QRHead YAML, DuoAttention TSV; entries that differ", once=True)
def round_trips(_: str) -> float:
    ours, _trials = trials()
    lists = KVScores.from_heads(ours, 4, "max")
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {}
        for form, given in {"wu": ours, "qrhead": ours, "duo": lists}.items():
            path = Path(folder) / f"heads.{dict(wu='json', qrhead='yaml', duo='tsv')[form]}"
            write_scores(given, path, form, k=8)
            found[form] = read_scores(path)
    wrong = (found["wu"].values != ours.values[ours.counted]).sum() + (found["duo"].values != lists.values).sum()
    return float(wrong) + sum(a != b for a, b in zip(found["qrhead"].heads, ours.top(8), strict=True))
