"""What belongs together is compared: head scores and rows with the model that they meet.

Scores of another shape are refused: their heads are not this model's. Other weights, another adapter or tokenizer may
be meant, and are told.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from haymaker.attention.hook import decoder_of
from haymaker.console import note
from haymaker.errors import DataError
from haymaker.heads.own_choice import map_shape
from haymaker.heads.scores import HeadScores
from haymaker.models.extend import positions_of
from haymaker.models.handshake import weights_digest
from haymaker.models.load import LanguageModel
from haymaker.provenance import adapter_in_use, positions_in_use
from haymaker.records import digest
from haymaker.vocabulary import tokenizer_digest

WORDS = {
    "weights": "other weights",
    "adapter": "another adapter",
    "tokenizer": "another tokenizer",
    "positions": "another extension of the context",
}
_TOLD: WeakKeyDictionary[HeadScores, set[str]] = WeakKeyDictionary()


def refuse_other_shape(scores: HeadScores, lm: LanguageModel, place: str = "head scores") -> None:
    """Raises DataError for scores of a model with other layers or heads."""
    expected, found = map_shape(decoder_of(lm.model).config), scores.mean.shape
    if found != expected:
        raise DataError(
            f"{place}: of a model with {found[0]} layers of {found[1]} heads, and {lm.name} has {expected[0]} of "
            f"{expected[1]}; score the heads of this model"
        )


def tell_other_origin(scores: HeadScores, lm: LanguageModel, place: str, of_adapter: bool = True) -> None:
    """Say in what the scores' own record of where they come from differs from this model, once.

    `of_adapter`: the adapter counts too. Raises DataError for another shape.
    """
    refuse_other_shape(scores, lm, place)
    found: dict[str, Any] = {"weights": weights_digest(lm.model), "tokenizer": tokenizer_digest(lm.tokenizer)}
    found["positions"] = positions_in_use(lm)
    if of_adapter:
        found["adapter"] = adapter_in_use(lm.model)
    if (model := digest(found)) not in (known := _TOLD.setdefault(scores, set())):  # commands tell of their file first
        known.add(model)
        tell(place, scores.provenance, found, lm.name)


def tell(place: str, origin: Mapping[str, Any], found: Mapping[str, Any], name: str) -> None:
    """Say in what the origin that an artifact records differs from the model."""
    other = [WORDS[key] for key, value in found.items() if key in origin and origin[key] != value]
    if other:
        note(f"{place}: made with {' and '.join(other)} than {name} as it is loaded here", style="yellow")


def tell_pair(donor: LanguageModel, recipient: LanguageModel) -> None:
    """Say where heads are lent between models that are not one base in one context: that may be meant."""
    bases = donor.base, recipient.base
    other = []
    if bases[0] is not bases[1]:
        if bases[0].dtype == bases[1].dtype and weights_digest(bases[0]) != weights_digest(bases[1]):
            other.append("other weights")
        if positions_of(bases[0]) != positions_of(bases[1]):
            other.append("another extension of the context")
    if other:
        note(f"donor {donor.name}: has {' and '.join(other)} than the recipient {recipient.name}", style="yellow")
