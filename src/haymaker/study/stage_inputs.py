"""What a stage reads: its rows, its model with an adapter, head scores; and how it keeps rows while it runs.

Nothing here imports torch before it is called.
"""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from haymaker.config import DtypeName, Extend, Frozen
from haymaker.kept import partial_of
from haymaker.study.bases import ROLES, Base
from haymaker.study.cell import Row, Tables

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset
    from haymaker.heads.scores import HeadScores
    from haymaker.models.load import LanguageModel

Inputs = Mapping[str, Path]
SCORES_FILE = "heads.safetensors"


def rows_of(inputs: Inputs, rows: int | None = None, *, evidence: bool = True) -> "Dataset":
    """The first rows of the input dataset, or of a file: of those whose `evidence` is known, if it is needed."""
    from haymaker.data.own_data import load_data

    dataset = load_data(inputs["data"], evidence)
    return dataset if rows is None else dataset[:rows]


class ModelParams(Frozen):
    """How a stage loads its model."""

    extend: Extend | None = None
    dtype: DtypeName = "auto"


def model_of(inputs: Inputs, params: ModelParams) -> "LanguageModel":
    """The input model with its adapter, if there is one: on the base that this process keeps, if that is the one."""
    from haymaker.study.held import model_with

    return model_with(base_of(inputs, params), next((inputs[role] for role in ROLES if role in inputs), None))


def donor_of(inputs: Inputs, params: ModelParams) -> "LanguageModel":
    """The input model with the donor's adapter, as a second model beside the first."""
    from haymaker.models.load import load_model

    return load_model(str(inputs["model"]), adapter=inputs.get("donor"), extend=params.extend, dtype=params.dtype)


def base_of(inputs: Inputs, params: ModelParams) -> Base:
    base = Base.of(inputs, params)
    assert base is not None, "a stage with a model has it among its inputs"
    return base


def computed(lm: "LanguageModel") -> Row:
    """In what a model's numbers are computed, as columns of a row; and an adapter of which nothing says its base."""
    from haymaker.models.precision import computed_by

    found = {key: value for key, value in computed_by(lm.model).items() if key != "processor"}
    return found | ({"adapter_base": "unverified"} if lm.unverified else {})


def computing(lm: "LanguageModel") -> str:
    """The same for people."""
    row = computed(lm)
    threads = f", {row['threads']} threads" if row["threads"] else ""
    return f"{lm.name}: {row['dtype']} on {row['device']}{threads}"


def scores_of(inputs: Inputs, lm: "LanguageModel", name: str = "heads") -> "HeadScores":
    """Head scores of a model: from a file of any format, from a cell's folder, or of heads that are named."""
    from haymaker.attention.hook import decoder_of
    from haymaker.heads.origins import tell_other_origin
    from haymaker.heads.own_choice import chosen_heads

    path = scores_file(inputs[name])
    scores = chosen_heads(path, decoder_of(lm.model).config)
    tell_other_origin(scores, lm, str(path), inputs.get("donor") if name == "donor_heads" else None)
    return scores


def check_scores(*paths: Path) -> None:
    """Raise for files of heads that cannot be read, before minutes of loading a model."""
    from haymaker.heads.own_choice import told_heads

    for path in map(scores_file, paths):
        told_heads(path)


def scores_file(path: Path) -> Path:
    return path / SCORES_FILE if path.is_dir() else path


def goes_on(run: Callable[..., Tables]) -> Callable[..., Tables]:
    """A stage that keeps rows beside its output while it runs, and goes on behind those of an interrupted call.

    A caller that says where `keep` is removes it. A model that a stage failed with serves no other cell. `batch`, most
    rows at once, changes no result and is no parameter.
    """

    @wraps(run)
    def kept(params: Frozen, inputs: Inputs, output: Path, keep: Path | None = None, **batch: int | None) -> Tables:
        try:
            tables = run(params, inputs, output, keep or partial_of(output), **batch)
        except BaseException:
            forget_models()
            raise
        if keep is None:
            partial_of(output).unlink(missing_ok=True)
        return tables

    return kept


def forget_models() -> None:
    """Keep no model, if there was ever one."""
    if held := sys.modules.get("haymaker.study.held"):
        held.forget()
