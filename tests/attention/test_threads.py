"""Law: a forward of another thread, in the midst of any of ours, is the plain model's, and ours are what they were."""

import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import logits

import haymaker as hm
from haymaker.interventions.parts import patching_parts
from haymaker.models.load import LanguageModel
from haymaker.models.rounding import rounding_difference

HEADS = [(0, 1), (2, 3)]
ROWS = [hm.example("Ann keeps a red hat.", "red", "What colour?", "red")]


def edited(lm: LanguageModel, site: Any) -> Any:
    with hm.edit(lm.model, hm.Zero(HEADS), site=site):
        return logits(lm.model, torch.arange(5, 25)[None])


def recorded(lm: LanguageModel) -> Any:
    with hm.record(lm.model, HEADS, site="o_proj") as recording:
        logits(lm.model, torch.arange(5, 25)[None])
    return recording.values


def answered(lm: LanguageModel) -> Any:
    with hm.edit(lm.model, hm.Zero(HEADS)):
        return hm.evaluate(lm, ROWS, new_tokens=3, stop=None).predictions[0].text


def parts(lm: LanguageModel, donor: LanguageModel) -> Any:
    return [row["effect"] for row in patching_parts(donor, lm, ROWS, {"some": HEADS})]


PLACES: dict[str, Callable[[LanguageModel, LanguageModel], Any]] = {
    "edit": lambda lm, _: edited(lm, "attention"),
    "edit o_proj": lambda lm, _: edited(lm, "o_proj"),
    "record o_proj": lambda lm, _: recorded(lm),
    "answers": lambda lm, _: answered(lm),
    "copy": lambda lm, _: hm.detect_heads(lm, ROWS, "copy").values,
    "write": lambda lm, _: hm.detect_heads(lm, ROWS, "write").values,
    "causal map": lambda lm, _: hm.causal_map(lm, ROWS).values,
    "causal map prompt": lambda lm, _: hm.causal_map(lm, ROWS, scope="prompt").values,
    "attribute": lambda lm, _: hm.attribute(lm, ROWS).values,
    "parts": parts,
    "patch": lambda lm, donor: hm.patch(donor, lm, ROWS, HEADS, new_tokens=3, stop=None).predictions[0].text,
    "rounding": lambda lm, _: rounding_difference(lm.base, lambda: logits(lm.base, torch.arange(5, 25)[None])),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_forward_of_another_thread_is_the_plain_model_s(place: str, lm: LanguageModel, new_model: Any) -> None:
    donor = LanguageModel(new_model(seed=1), lm.tokenizer, "donor")
    alone = PLACES[place](LanguageModel(deepcopy(lm.base), lm.tokenizer, "tiny"), donor)
    ids, ours = torch.arange(7, 20)[None], threading.get_ident()
    found: list[torch.Tensor] = []
    inside: list[bool] = []
    plain = logits(lm.base, ids)

    def intrude(*_: Any) -> None:
        if threading.get_ident() == ours and not inside:
            inside.append(True)
            thread = threading.Thread(target=lambda: found.append(logits(lm.base, ids)))
            thread.start()
            thread.join()
            inside.clear()

    hook = lm.base.model.layers[1].register_forward_pre_hook(intrude)
    try:
        together = PLACES[place](lm, donor)
    finally:
        hook.remove()
    assert found
    assert all(torch.equal(one, plain) for one in found), f"{sum(not torch.equal(one, plain) for one in found)} wrong"
    if isinstance(alone, str):
        assert together == alone
    else:
        np.testing.assert_array_equal(np.asarray(together), np.asarray(alone))
