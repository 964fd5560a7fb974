"""The stages of a study: each wires one part of the library to folders. torch is imported when a stage runs.

A stage's output is a function of its parameters and inputs alone; `tables/*.json` in it become rows of results.json.
A model arrives as its name, everything else as a path.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haymaker.config import Extend, Frozen, Recipe, TrainConfig
from haymaker.console import bar
from haymaker.study.cell import Stage
from haymaker.study.rows import write_rows

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset
    from haymaker.models.load import LanguageModel

Inputs = Mapping[str, Path]
COMPUTE = ("torch", "transformers", "peft", "numpy")


class TrainParams(Frozen):
    extend: Extend
    train: TrainConfig


class EvaluateParams(Frozen):
    extend: Extend | None = None
    beyond_context: bool = False
    rows: int | None = None
    new_tokens: int = 32


class HeadsParams(Frozen):
    extend: Extend | None = None
    metric: str = "copy"
    rows: int | None = None


class CompareParams(Frozen):
    threshold: float = 0.0
    k: int = 10


class AblateParams(Frozen):
    extend: Extend | None = None
    k: tuple[int, ...] = (1, 2, 5, 10)
    draws: int = 3
    rows: int | None = None
    new_tokens: int = 32
    seed: int = 0


class PatchParams(Frozen):
    k: int = 10
    draws: int = 3
    rows: int | None = None
    new_tokens: int = 32
    threshold: float = 0.0
    identity: bool = False
    seed: int = 0


@lru_cache(maxsize=2)  # a donor and a recipient
def loaded(model: str, adapter: Path | None, extend: Extend | None) -> "LanguageModel":
    """A model for reading: edits and probes leave it as it was, so that the next cell may use it too."""
    from haymaker.models.load import load_model

    return load_model(model, adapter=adapter, extend=extend)


def model_of(inputs: Inputs, extend: Extend | None = None, role: str = "adapter") -> "LanguageModel":
    return loaded(str(inputs["model"]), inputs.get(role), extend)  # type: ignore[arg-type]


def rows_of(inputs: Inputs, rows: int | None) -> "Dataset":
    """The first rows of the input dataset."""
    from haymaker.data.dataset import load_dataset

    dataset = load_dataset(inputs["data"])
    return dataset if rows is None else dataset[:rows]


def build_data(params: Recipe, inputs: Inputs, output: Path) -> None:
    """recipe -> dataset folder."""
    from haymaker.data.builder import build
    from haymaker.models.load import read_tokenizer
    from haymaker.study.outside import model_folder

    files = {key: str(inputs[key]) for key in ("source", "pool", "written") if key in inputs}
    name = str(inputs["tokenizer"])
    build(params.changed(**files), read_tokenizer(name, str(model_folder(name)))).save(output, overwrite=True)


def train_adapter(params: TrainParams, inputs: Inputs, output: Path) -> None:
    """dataset -> adapter folder."""
    from haymaker.models.load import load_model
    from haymaker.training.loop import train

    # A model of its own: training writes into it.
    lm = load_model(str(inputs["model"]), extend=params.extend)
    with bar("training steps", params.train.steps) as advance:
        train(lm, rows_of(inputs, None), params.train, out=output, on_progress=advance)


def evaluate_model(params: EvaluateParams, inputs: Inputs, output: Path) -> None:
    """dataset, adapter -> predictions and one row of F1 and EM."""
    from haymaker.evaluation.predictions import evaluate

    lm = model_of(inputs, params.extend)
    rows = rows_of(inputs, params.rows)
    options = {"new_tokens": params.new_tokens, "beyond_context": params.beyond_context}
    with bar("answers", len(rows)) as advance:
        found = evaluate(lm, rows, on_progress=advance, **options)
    found.save(output / "predictions.jsonl")
    write_rows(output, "evaluation", [found.row()])


def score_heads(params: HeadsParams, inputs: Inputs, output: Path) -> None:
    """dataset, adapter -> head scores and a row per head."""
    from haymaker.heads.detection import detect_heads

    lm, rows = model_of(inputs, params.extend), rows_of(inputs, params.rows)
    with bar("rows scored", len(rows)) as advance:
        scores = detect_heads(lm, rows, metric=params.metric, on_progress=advance)
    scores.save(output / "heads.safetensors")
    low, high = scores.interval()
    rows = [
        {"layer": layer, "head": head, "score": score, "low": low[layer, head], "high": high[layer, head]}
        for (layer, head), score in _entries(scores.mean)
    ]
    write_rows(output, "heads", [row | {"metric": scores.metric, "n": len(scores.values)} for row in rows])


def _entries(table: Any) -> list[tuple[tuple[int, int], float]]:
    return [((layer, head), float(value)) for layer, line in enumerate(table) for head, value in enumerate(line)]


def compare_heads(params: CompareParams, inputs: Inputs, output: Path) -> None:
    """two head scores -> one row of similarities."""
    from haymaker.heads.scores import HeadScores

    own, reference = (HeadScores.load(scores_file(inputs[name])) for name in ("heads", "reference"))
    row = {
        "cosine": own.cosine(reference),
        "recall": own.recall(reference, params.threshold),
        "subset": own.subset(reference, params.threshold),
        "overlap": own.overlap(reference, params.k),
        "k": params.k,
        "threshold": params.threshold,
        "active": len(own.active(params.threshold)),
        "active_reference": len(reference.active(params.threshold)),
    }
    write_rows(output, "similarity", [row])


def scores_file(path: Path) -> Path:
    """The file of head scores: the path itself, or in a cell's folder."""
    return path / "heads.safetensors" if path.is_dir() else path


def ablate_heads(params: AblateParams, inputs: Inputs, output: Path) -> None:
    """dataset, adapter, head scores -> F1 without the top k heads, and without k others of the same layers."""
    from haymaker.heads.scores import HeadScores
    from haymaker.interventions import ablation_curve

    lm, rows = model_of(inputs, params.extend), rows_of(inputs, params.rows)
    scores = HeadScores.load(scores_file(inputs["heads"]))
    seed, new_tokens = params.seed, params.new_tokens
    found = ablation_curve(lm, rows, scores, params.k, params.draws, seed=seed, new_tokens=new_tokens)
    write_rows(output, "ablation", found)


def patch_heads(params: PatchParams, inputs: Inputs, output: Path) -> None:
    """dataset, two adapters, their head scores -> F1 of the recipient with heads of the donor in place of its own."""
    from haymaker.heads.scores import HeadScores
    from haymaker.interventions import patching_table

    rows = rows_of(inputs, params.rows)
    donor, recipient = (model_of(inputs, role=role) for role in ("donor", "recipient"))
    lent, own = (HeadScores.load(scores_file(inputs[name])) for name in ("donor_heads", "heads"))
    options = params.model_dump(exclude={"rows"})
    write_rows(output, "patching", patching_table(donor, recipient, rows, lent, own, **options))


DATA = Stage(
    "data", Recipe, build_data, libraries=("tokenizers", "numpy", "pyarrow"), volatile=("manifest.json", "README.md")
)
TRAIN = Stage(
    "train",
    TrainParams,
    train_adapter,
    libraries=COMPUTE,
    volatile=("training.json", "metrics.jsonl"),  # they hold seconds
    resumable=True,
)
EVALUATE = Stage("evaluate", EvaluateParams, evaluate_model, libraries=COMPUTE)
HEADS = Stage("heads", HeadsParams, score_heads, libraries=COMPUTE)
COMPARE = Stage("compare", CompareParams, compare_heads, libraries=("numpy",))
ABLATE = Stage("ablate", AblateParams, ablate_heads, libraries=COMPUTE)
PATCH = Stage("patch", PatchParams, patch_heads, libraries=COMPUTE)
