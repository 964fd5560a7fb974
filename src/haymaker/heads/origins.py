"""What belongs together is compared: head scores with the model that they meet.

Scores of another shape are refused: their heads are not this model's. Other weights, another adapter or tokenizer may
be meant, and are told.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from haymaker.attention.hook import decoder_of
from haymaker.console import note
from haymaker.errors import DataError
from haymaker.heads.own_choice import map_shape
from haymaker.heads.scores import HeadScores
from haymaker.models.handshake import weights_digest
from haymaker.models.load import LanguageModel
from haymaker.provenance import adapter_in_use, known_adapter, positions_in_use
from haymaker.records import digest
from haymaker.vocabulary import tokenizer_digest

WORDS = {
    "weights": "other weights",
    "adapter": "another adapter",
    "tokenizer": "another tokenizer",
    "positions": "another extension of the context",
}
NAMED = "model_name_or_path"  # whose heads a file in QRHead's form lists: all that it says of a model
_TOLD: WeakKeyDictionary[HeadScores, set[str]] = WeakKeyDictionary()


def refuse_other_shape(scores: HeadScores, lm: LanguageModel, place: str = "head scores") -> None:
    """Raises DataError for scores of a model with other layers or heads."""
    expected, found = map_shape(decoder_of(lm.model).config), scores.mean.shape
    if found != expected:
        raise DataError(
            f"{place}: of a model with {found[0]} layers of {found[1]} heads, and {lm.name} has {expected[0]} of "
            f"{expected[1]}; score the heads of this model"
        )


def tell_other_origin(scores: HeadScores, lm: LanguageModel, place: str, donor: Path | None = None) -> None:
    """Say in what the scores' own record of where they come from differs from this model, once.

    `donor`: the folder of the adapter with which they are used, in place of this model's. Raises DataError for another
    shape.
    """
    refuse_other_shape(scores, lm, place)
    found: dict[str, Any] = {"weights": weights_digest(lm.model), "tokenizer": tokenizer_digest(lm.tokenizer)}
    found["positions"] = positions_in_use(lm)
    found |= {"adapter": adapter_in_use(lm.model)} if donor is None else known_adapter(donor)
    if (model := digest(found)) not in (known := _TOLD.setdefault(scores, set())):  # commands tell of their file first
        known.add(model)
        tell(place, scores.provenance, found, lm.name if donor is None else f"the donor {donor}")
        model = str(scores.provenance.get(NAMED, lm.name))
        if last_part(model) != last_part(lm.name):
            note(f"{place}: lists heads of {model}, and they are taken for those of {lm.name}", style="yellow")


def tell(place: str, origin: Mapping[str, Any], found: Mapping[str, Any], name: str) -> None:
    """Say in what the origin that an artifact records differs from the model."""
    other = [WORDS[key] for key, value in found.items() if key in origin and origin[key] != value]
    if other:
        note(f"{place}: made with {' and '.join(other)} than {name} as it is loaded here", style="yellow")


def last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()
