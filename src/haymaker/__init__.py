"""Haymaker: synthetic context extension, read through a model's retrieval heads.

Names load when they are first used, so that `import haymaker` and the command line's help need no torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haymaker.build import build as build
    from haymaker.config import Extend as Extend
    from haymaker.config import Recipe as Recipe
    from haymaker.config import TrainConfig as TrainConfig
    from haymaker.dataset import Dataset as Dataset
    from haymaker.dataset import load_dataset as load_dataset
    from haymaker.edits import Knockout as Knockout
    from haymaker.edits import Mean as Mean
    from haymaker.edits import Patch as Patch
    from haymaker.edits import Resample as Resample
    from haymaker.edits import Uniform as Uniform
    from haymaker.edits import Zero as Zero
    from haymaker.edits import edit as edit
    from haymaker.evaluate import evaluate as evaluate
    from haymaker.heads import detect_all as detect_all
    from haymaker.heads import detect_heads as detect_heads
    from haymaker.interventions import ablate as ablate
    from haymaker.interventions import ablate_sets as ablate_sets
    from haymaker.interventions import ablation_curve as ablation_curve
    from haymaker.interventions import attribute as attribute
    from haymaker.interventions import causal_map as causal_map
    from haymaker.interventions import patch as patch
    from haymaker.interventions import patch_many as patch_many
    from haymaker.interventions import patch_sets as patch_sets
    from haymaker.interventions import set_effects as set_effects
    from haymaker.models.load import LanguageModel as LanguageModel
    from haymaker.models.load import load_model as load_model
    from haymaker.probe import probe as probe
    from haymaker.recording import record as record
    from haymaker.records import Encoded as Encoded
    from haymaker.records import Example as Example
    from haymaker.records import Head as Head
    from haymaker.records import Label as Label
    from haymaker.records import Message as Message
    from haymaker.records import Prediction as Prediction
    from haymaker.records import Segment as Segment
    from haymaker.records import Span as Span
    from haymaker.score_files import read_scores as read_scores
    from haymaker.score_files import write_scores as write_scores
    from haymaker.scores import HeadScores as HeadScores
    from haymaker.scores import agreement as agreement
    from haymaker.tokens import encode as encode
    from haymaker.train import train as train

_HOMES = {
    "build": ("build",),
    "config": ("Extend", "Recipe", "TrainConfig"),
    "dataset": ("Dataset", "load_dataset"),
    "edits": ("Knockout", "Mean", "Patch", "Resample", "Uniform", "Zero", "edit"),
    "evaluate": ("evaluate",),
    "heads": ("detect_all", "detect_heads"),
    "interventions": (
        "ablate",
        "ablate_sets",
        "ablation_curve",
        "attribute",
        "causal_map",
        "patch",
        "patch_many",
        "patch_sets",
        "set_effects",
    ),
    "models.load": ("LanguageModel", "load_model"),
    "probe": ("probe",),
    "recording": ("record",),
    "records": ("Encoded", "Example", "Head", "Label", "Message", "Prediction", "Segment", "Span"),
    "score_files": ("read_scores", "write_scores"),
    "scores": ("HeadScores", "agreement"),
    "tokens": ("encode",),
    "train": ("train",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("errors", "metrics", "stats")

__version__ = "0.1.0"
__all__ = sorted([*_HOME_OF, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"haymaker.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'haymaker' has no attribute {name!r}")
    value = getattr(import_module(f"haymaker.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Where a module and its main function share a name (train, build, ...), the package's attribute is the function.

    Importing a submodule sets it as an attribute of its package, which would otherwise hide the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if _HOME_OF.get(name) == name and isinstance(value, ModuleType):
            value = getattr(value, name, value)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
