"""The stages, each wiring one part of the library to folders: for a study's cells and for the command line alike.

A stage's files and rows are a function of its parameters and inputs alone. A model arrives as its name, everything else
as a path. torch is imported when a stage runs.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from haymaker.config import PATCHED, Draws, Frozen, HeadSetKind, Recipe, TrainConfig
from haymaker.console import bar, note
from haymaker.file_reading import read_json
from haymaker.study.cell import Pieces, Row, Stage, Tables
from haymaker.study.stage_inputs import (
    SCORES_FILE,
    Inputs,
    ModelParams,
    base_of,
    check_scores,
    computed,
    computing,
    donor_of,
    forget_models,
    goes_on,
    model_of,
    rows_of,
    scores_file,
    scores_of,
)

if TYPE_CHECKING:
    from haymaker.data.builder import Builder
    from haymaker.heads.scores import HeadScores
    from haymaker.records import Example

COMPUTE = ("torch", "transformers", "peft", "numpy")
PIECE_TOKENS, MOST_PIECES = 2**24, 256  # of a build: 0.35 M tokens a second and core make a piece of 48 s


# ---- data and models


def build_data(params: Recipe, inputs: Inputs, output: Path, workers: int = 1, overwrite: bool = False) -> Tables:
    """recipe, tokenizer -> dataset folder."""
    from haymaker.data.parallel import build_folder
    from haymaker.models.load import load_tokenizer

    name, files = str(inputs["tokenizer"]), {key: str(path) for key, path in inputs.items() if key != "tokenizer"}
    reader = load_tokenizer(name)
    with bar("rows", params.rows) as advance:
        build_folder(
            params.changed(**files), reader, output, workers=workers, overwrite=overwrite, tokenizer_name=name,
            on_progress=advance,
        )  # fmt: skip
    return {}


def pieces_of_build(params: Recipe) -> int:
    """In how many pieces a dataset is built: each a minute's work of a core or more."""
    return max(1, min(MOST_PIECES, params.rows * params.length // PIECE_TOKENS))


def build_piece(params: Recipe, inputs: Inputs, output: Path, number: int, of: int) -> None:
    """recipe, tokenizer -> some of the dataset's parts, in the folder where `build_data` looks for them."""
    from haymaker.data.parallel import build_parts

    files = {key: str(path) for key, path in inputs.items() if key != "tokenizer"}
    recipe = params.changed(**files)
    builder = builder_of(recipe, str(inputs["tokenizer"]))  # type: ignore[arg-type] - frozen configs have hashes
    with bar(f"rows of piece {number + 1} of {of}", -(-params.rows // of)) as advance:
        build_parts(builder, output, number, of, on_progress=advance)


@lru_cache(maxsize=1)  # pieces of one dataset come one after the other
def builder_of(recipe: Recipe, tokenizer: str) -> "Builder":
    """What builds a dataset's rows, its sources read."""
    from haymaker.data.builder import Builder
    from haymaker.models.load import load_tokenizer

    return Builder(recipe, load_tokenizer(tokenizer), tokenizer)


class TrainParams(ModelParams):
    train: TrainConfig


def train_adapter(params: TrainParams, inputs: Inputs, output: Path, overwrite: bool = False) -> Tables:
    """dataset, model -> adapter folder."""
    rows = rows_of(inputs)
    from haymaker.data.own_data import load_data
    from haymaker.training.loop import train
    from haymaker.training.parallel import take_gpu

    take_gpu()
    tracked = load_data(inputs["track"]) if "track" in inputs else None
    with model_for_training(inputs, params) as lm, bar("training steps", params.train.steps, computing(lm)) as advance:
        train(lm, rows, params.train, output, overwrite=overwrite, on_progress=advance, track_on=tracked)
    return {"tracking": read_json(output / "tracking.json")} if params.train.track else {}


def model_for_training(inputs: Inputs, params: TrainParams) -> AbstractContextManager[Any]:
    """The base that this process keeps; where processes share its weights, a model of its own that they cut up."""
    from haymaker.models.load import load_model
    from haymaker.study.held import model_to_train

    if not params.train.shard:
        return model_to_train(base_of(inputs, params))
    forget_models()
    # shared weights need not fit on a GPU
    return nullcontext(load_model(str(inputs["model"]), extend=params.extend, dtype=params.dtype, device="cpu"))


def forecast_training(params: TrainParams, inputs: Inputs, device: str | None = None) -> Row:
    """dataset, model -> what training would take on a device, without weights."""
    rows = rows_of(inputs)
    from haymaker.training.dry_run import forecast_run

    return forecast_run(str(inputs["model"]), rows, params.train, params.extend, dtype=params.dtype, device=device)


class EvaluateParams(ModelParams):
    beyond_context: bool = False
    rows: int | None = None
    new_tokens: int | None = None
    metrics: tuple[str, ...] = ()  # none: those of the task
    stop: str | None = "\n"


@goes_on
def evaluate_model(
    params: EvaluateParams, inputs: Inputs, output: Path, keep: Path, batch: int | None = None
) -> Tables:
    """dataset, model -> predictions, and a row of scores."""
    rows, lm = rows_of(inputs, params.rows, evidence=False), model_of(inputs, params)
    from haymaker.evaluation.predictions import evaluate

    options = params.model_dump(include={"new_tokens", "metrics", "beyond_context", "stop"})
    with bar("answers", len(rows), computing(lm)) as advance:
        found = evaluate(lm, rows, batch=batch, on_progress=advance, keep=keep, **options)
    found.save(output / "predictions.jsonl")
    for said in found.notes():
        note(said)
    return {"evaluation": [found.row() | computed(lm)]}


# ---- heads


class HeadsParams(ModelParams):
    metrics: tuple[str, ...] = ("copy",)
    threshold: float = 0.1  # of what `maps` counts as active (Wu et al. 2024)
    k: int = 10  # top heads whose stability it tells
    answer: str | None = None
    rows: int | None = None
    new_tokens: int | None = None
    stop: str | None = "\n"


def head_scores(
    params: HeadsParams,
    inputs: Inputs,
    prompt: "Example | None" = None,
    keep: Path | None = None,
    batch: int | None = None,
) -> "dict[str, HeadScores]":
    """dataset (or a prompt of one's own), model -> scores of its heads by metric, from one pass."""
    rows = rows_of(inputs, params.rows) if prompt is None else [prompt]
    lm = model_of(inputs, params)
    from haymaker.heads.detection import detect_all

    options = params.model_dump(include={"answer", "new_tokens", "stop"})
    with bar("rows scored", len(rows), computing(lm)) as advance:
        return detect_all(lm, rows, params.metrics, batch=batch, on_progress=advance, keep=keep, **options)


@goes_on
def score_heads(params: HeadsParams, inputs: Inputs, output: Path, keep: Path) -> Tables:
    """dataset, model -> head scores of one metric, a row per head, one of the map, and what the best heads read."""
    from haymaker.heads.nulls import map_row
    from haymaker.study.examples import READING_HEADS, read_rows

    (scores,) = head_scores(params, inputs, keep=keep).values()
    scores.save(output / SCORES_FILE)
    low, high = scores.interval()
    about = {"metric": scores.metric, "n": len(scores.values)}
    rows = [
        {"layer": layer, "head": head, "score": float(score), "low": low[layer, head], "high": high[layer, head]}
        for layer, line in enumerate(scores.mean)
        for head, score in enumerate(line)
    ]
    best = scores.best(READING_HEADS)
    reads = read_rows(model_of(inputs, params), list(rows_of(inputs, params.rows)), best) if best else []
    maps = [map_row(scores, params.threshold, params.k)]
    return {"heads": [row | about for row in rows], "maps": maps, "reads": reads}


class CompareParams(Frozen):
    threshold: float = 0.0
    k: int = 10
    kv_rule: str = "max"
    query_heads: int | None = None


def compared(params: CompareParams, inputs: Inputs) -> "tuple[HeadScores, HeadScores, Row]":
    """two files of head scores -> both as maps of one shape, and how alike they are."""
    from haymaker.heads.compare import comparable, comparison
    from haymaker.heads.formats import read_scores, rule_of
    from haymaker.heads.scores import HeadScores, tell_other_origins

    first, second = (read_scores(scores_file(inputs[name])) for name in ("heads", "reference"))
    if isinstance(first, HeadScores) and isinstance(second, HeadScores):
        tell_other_origins(first, second, f"{inputs['heads']} and {inputs['reference']}")
    own, reference, unit = comparable(first, second, rule_of(params.kv_rule), params.query_heads)
    return own, reference, comparison(own, reference, params.threshold, params.k) | {"unit": unit}


def compare_heads(params: CompareParams, inputs: Inputs, output: Path) -> Tables:
    """two head scores -> a row of similarities."""
    return {"similarity": [compared(params, inputs)[2]]}


# ---- interventions


class AblateParams(ModelParams):
    k: tuple[int, ...] = (1, 2, 5, 10)
    draws: Draws = 3
    scope: str = "all"
    rows: int | None = None
    new_tokens: int | None = None
    metrics: tuple[str, ...] = ()
    stop: str | None = "\n"
    seed: int = 0


@goes_on
def ablate_heads(params: AblateParams, inputs: Inputs, output: Path, keep: Path, batch: int | None = None) -> Tables:
    """dataset, model, head scores -> scores without the top k heads, and without k others of the same layers."""
    rows = rows_of(inputs, params.rows)
    check_scores(inputs["heads"])
    lm = model_of(inputs, params)
    from haymaker.heads.own_choice import sizes_of
    from haymaker.interventions.ablation import ablation_curve, curve_sets

    scores = scores_of(inputs, lm)
    sizes = sizes_of(scores, params.k, asked="k" in params.model_fields_set)
    options = params.model_dump(include={"draws", "seed", "new_tokens", "metrics", "stop", "scope"})
    sets = curve_sets(lm, scores, sizes, params.draws, params.seed)
    with bar("answers", len(sets) * len(rows), computing(lm)) as advance:
        found = ablation_curve(lm, rows, scores, sizes, batch=batch, on_progress=advance, keep=keep, **options)
    return {"ablation": [row | computed(lm) for row in found]}


class PatchParams(ModelParams):
    k: int = 10
    draws: Draws = 3
    kinds: tuple[HeadSetKind, ...] = Field(default=PATCHED, min_length=1, exclude_if=lambda kinds: kinds == PATCHED)
    scope: str = "all"
    rows: int | None = None
    new_tokens: int | None = None
    metrics: tuple[str, ...] = ()
    stop: str | None = "\n"
    threshold: float = 0.0
    identity: bool = False
    two_models: bool = False
    seed: int = 0


@goes_on
def patch_heads(params: PatchParams, inputs: Inputs, output: Path, keep: Path, batch: int | None = None) -> Tables:
    """dataset, two adapters, their head scores -> scores of the recipient with heads of the donor in place of its own.

    The donor's adapter goes on the recipient's base model, unless two models are asked for.
    """
    rows = rows_of(inputs, params.rows)
    check_scores(inputs["donor_heads"], inputs["heads"])
    recipient = model_of(inputs, params)
    lent, own = scores_of(inputs, recipient, "donor_heads"), scores_of(inputs, recipient)
    donor = donor_of(inputs, params) if params.two_models else inputs["donor"]
    from haymaker.interventions.head_sets import patching_sets
    from haymaker.interventions.patching import patching_table

    options = {**params.model_dump(exclude={"rows", "two_models", *ModelParams.model_fields}), "batch": batch}
    chosen = params.model_dump(include={"k", "threshold", "draws", "seed", "kinds"})
    sets = 2 if params.identity else len(list(patching_sets(lent, own, **chosen)))
    with bar("answers", sets * len(rows), computing(recipient)) as advance:
        found = patching_table(donor, recipient, rows, lent, own, on_progress=advance, keep=keep, **options)
    return {"patching": [row | computed(recipient) for row in found]}


class PartsParams(ModelParams):
    k: int = 10
    draws: Draws = 1
    rows: int | None = None
    threshold: float = 0.0
    seed: int = 0


@goes_on
def patch_parts(params: PartsParams, inputs: Inputs, output: Path, keep: Path) -> Tables:
    """dataset, two adapters, their head scores -> what patching does, by queries, keys, values, weights, upstream."""
    rows = rows_of(inputs, params.rows)
    check_scores(inputs["donor_heads"], inputs["heads"])
    recipient = model_of(inputs, params)
    lent, own = scores_of(inputs, recipient, "donor_heads"), scores_of(inputs, recipient)
    donor = donor_of(inputs, params)
    from haymaker.interventions.head_sets import patching_sets
    from haymaker.interventions.parts import patching_parts

    found = patching_sets(lent, own, params.k, params.threshold, params.draws, seed=params.seed)
    sets = [one for one in found if one.heads]
    size = min((one.k for one in sets), default=0)  # at which all are
    named = {one.kind + (f" {one.draw}" if one.draw else ""): one.heads for one in sets if one.k == size}
    with bar("examples", len(rows), computing(recipient)) as advance:
        told = patching_parts(donor, recipient, rows, named, on_progress=advance, keep=keep)
    return {"parts": [row | computed(recipient) for row in told]}


class EffectsParams(ModelParams):
    scope: str = "last+decode"
    rows: int | None = None


class CausalParams(EffectsParams):
    tokens_at_once: int | None = None


def attribution_effects(params: EffectsParams, inputs: Inputs, keep: Path | None = None) -> "HeadScores":
    """dataset, model, perhaps a donor -> every head's estimated effect on the gold answer."""
    from haymaker.interventions.attribution import attribute

    return effects(attribute, params, inputs, keep=keep)


def causal_effects(
    params: CausalParams, inputs: Inputs, keep: Path | None = None, batch: int | None = None
) -> "HeadScores":
    """dataset, model, perhaps a donor -> every head's measured effect on the gold answer."""
    from haymaker.interventions.causal import causal_map

    return effects(causal_map, params, inputs, keep=keep, tokens_at_once=params.tokens_at_once, batch=batch)


def effects(measure: Any, params: EffectsParams, inputs: Inputs, **options: Any) -> "HeadScores":
    rows, lm = rows_of(inputs, params.rows), model_of(inputs, params)
    donor = donor_of(inputs, params) if "donor" in inputs else None
    with bar("examples", len(rows), computing(lm)) as advance:
        return measure(lm, rows, donor, params.scope, on_progress=advance, **options)


# ---- the stages of a study


DATA = Stage(
    "data",
    Recipe,
    build_data,
    libraries=("tokenizers", "numpy", "pyarrow"),
    volatile=("manifest.json", "README.md"),  # they name files by their paths
    resumable=True,
    pieces=Pieces(pieces_of_build, build_piece),
)
TRAIN = Stage("train", TrainParams, train_adapter, libraries=COMPUTE, resumable=True, rounding=True)
EVALUATE = Stage("evaluate", EvaluateParams, evaluate_model, libraries=COMPUTE, resumable=True, rounding=True)
HEADS = Stage("heads", HeadsParams, score_heads, version=3, libraries=COMPUTE, resumable=True, rounding=True)
COMPARE = Stage("compare", CompareParams, compare_heads, version=4, libraries=("numpy",), rounding=True)
ABLATE = Stage("ablate", AblateParams, ablate_heads, version=2, libraries=COMPUTE, resumable=True, rounding=True)
PATCH = Stage("patch", PatchParams, patch_heads, version=3, libraries=COMPUTE, resumable=True, rounding=True)
PARTS = Stage("parts", PartsParams, patch_parts, libraries=COMPUTE, resumable=True, rounding=True)
