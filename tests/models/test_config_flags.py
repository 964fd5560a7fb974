"""Laws: what a user sets in a model's configs for forwards and `generate` of his own changes no number of ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_rows import random_rows
from transformers import MixtralConfig, MixtralForCausalLM, PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import ModelError
from haymaker.evaluation.choosing import choices
from haymaker.interventions.parts import patching_parts
from haymaker.models.load import LanguageModel

HEADS = [hm.Head(0, 1), hm.Head(1, 3)]
ROWS = [
    hm.example("Ann keeps a red hat.", "red", "What colour?", "red"),
    hm.example("Bo has a cup.", "cup", "What?", "cup"),
]
FORWARDS = {
    "use_cache": False, "output_hidden_states": True, "output_attentions": True, "output_router_logits": True,
    "is_decoder": True, "tie_word_embeddings": True,
}  # fmt: skip
GENERATION = {
    "do_sample": True, "temperature": 0.1, "num_beams": 3, "max_length": 2, "min_new_tokens": 9, "use_cache": False,
    "repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "suppress_tokens": [*range(3, 900)],
    "forced_bos_token_id": 9, "forced_eos_token_id": 9, "return_dict_in_generate": True, "output_scores": True,
}  # fmt: skip


def answered(lm: LanguageModel) -> Any:
    return [prediction.text for prediction in hm.evaluate(lm, ROWS, new_tokens=5, stop=None).predictions]


def trained(lm: LanguageModel, folder: Path) -> Any:
    config = hm.TrainConfig(steps=2, batch=2, rank=2, save_every=1)
    return [line["loss"] for line in hm.train(lm, random_rows(4), config, folder, on_progress=lambda _: None).metrics]


def probed(lm: LanguageModel) -> Any:
    with hm.probe(lm.model, rows=[9], spans={"start": hm.Span(0, 4)}) as seen:
        lm.model(input_ids=torch.arange(5, 30)[None])
    return seen.mass["start"]


WAYS: dict[str, Callable[[LanguageModel, Path], Any]] = {
    "answers": lambda lm, _: answered(lm),
    "choices": lambda lm, _: [prediction.margin for prediction in choices(lm, ROWS)],
    "copy": lambda lm, _: hm.detect_heads(lm, ROWS, "copy").values,
    "mass_calibrated": lambda lm, _: hm.detect_heads(lm, ROWS, "mass_calibrated").values,
    "write": lambda lm, _: hm.detect_heads(lm, ROWS, "write").values,
    "causal map": lambda lm, _: hm.causal_map(lm, ROWS).values,
    "causal map of prompts": lambda lm, _: hm.causal_map(lm, ROWS, scope="prompt").values,
    "attribute": lambda lm, _: hm.attribute(lm, ROWS).values,
    "parts": lambda lm, _: [row["effect"] for row in patching_parts(lm, lm, ROWS, {"some": HEADS})],
    "probe": lambda lm, _: probed(lm),
    "train": trained,
}


def mixture(tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    """A mixture of experts, which has outputs of all kinds; eager, as weights are asked for."""
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, num_local_experts=3, pad_token_id=2,
    )  # fmt: skip
    model = MixtralForCausalLM(config).eval().requires_grad_(False)
    model.set_attn_implementation("eager")
    return LanguageModel(model, tokenizer, "mixture")


@pytest.mark.parametrize("way", WAYS)
def test_flags_of_a_config_change_no_number(way: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    plain = WAYS[way](mixture(tokenizer), tmp_path / "plain")
    flagged = mixture(tokenizer)
    for config, flags in ((flagged.base.config, FORWARDS), (flagged.base.generation_config, GENERATION)):
        for name, value in flags.items():
            setattr(config, name, value)
    np.testing.assert_array_equal(np.asarray(WAYS[way](flagged, tmp_path / "flagged")), np.asarray(plain))


@pytest.mark.parametrize("way", WAYS)
def test_forwards_that_return_tuples_are_refused(way: str, lm: LanguageModel, tmp_path: Path) -> None:
    lm.base.config.return_dict = False
    with pytest.raises(ModelError, match="return_dict = True"):
        WAYS[way](lm, tmp_path / "out")
