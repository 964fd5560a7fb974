"""Quantised bases: one sentence where a library is missing, and where nothing can be trained on them."""

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_rows import random_rows

from haymaker.config import TrainConfig
from haymaker.errors import ModelError
from haymaker.models.load import LanguageModel, load_model
from haymaker.training.loop import train

KINDS: list[tuple[dict[str, Any], str]] = [
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
    ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "torchao"),
    ({"quant_method": "gptq", "bits": 4}, "optimum"),
    ({"quant_method": "awq", "bits": 4}, "gptqmodel"),
]


@pytest.mark.parametrize(("about", "library"), KINDS, ids=[library for _, library in KINDS])
def test_a_missing_library_is_named_in_one_sentence(model_folder: Path, about: dict[str, Any], library: str) -> None:
    if find_spec(library) is not None:
        pytest.skip(f"{library} is installed")
    path = model_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": about}))
    with pytest.raises(ModelError, match=f"quantised by {about['quant_method']}, .*pip install .*{library}"):
        load_model(model_folder)


def test_what_cannot_be_trained_on_is_refused_before_anything_is_written(lm: LanguageModel, tmp_path: Path) -> None:
    method = SimpleNamespace(quant_method=SimpleNamespace(value="awq"))
    lm.model.hf_quantizer = SimpleNamespace(is_trainable=False, quantization_config=method)
    with pytest.raises(ModelError, match=r"tiny is quantised \(awq\) in a way that nothing can be trained on"):
        train(lm, random_rows(2), TrainConfig(steps=1, batch=2), tmp_path / "out")
    assert not (tmp_path / "out").exists()
