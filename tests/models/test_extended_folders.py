"""What `haymaker extend` writes, for RoPE of every rule and layout: others read it as the model that was extended.

The table is a sample of a fuzz over all architectures (docs/log.md, 2026-11-27). Old names are read by transformers
with the new ones taken out, which then has nothing else to go by.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from any_architecture import CONTEXT, tiny
from architecture_laws import prompt, run, same
from transformers import AutoModelForCausalLM, PreTrainedModel

from haymaker.config import Extend
from haymaker.models.checkpoint import write_checkpoint
from haymaker.models.forward import stack_of
from haymaker.models.load import load_model

LONG = 2 * CONTEXT
PAST = CONTEXT + 12  # tokens of a prompt that ends beyond the old context
SHORT_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": CONTEXT // 4}
RULES: dict[str, dict[str, Any]] = {
    "own": {},
    "linear": {"rope_type": "linear", "factor": 2.0},
    "weighted yarn": SHORT_YARN | {"mscale": 0.7, "mscale_all_dim": 1.3, "beta_fast": 8, "truncate": False},
    "llama3": SHORT_YARN | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0},
}
TABLE = [
    ("llama", "linear", {"method": "linear"}),
    ("llama", "llama3", {}),
    ("qwen2", "own", {"method": "yarn", "keep_window": True}),
    ("gemma3_text", "own", {"method": "yarn"}),
    ("gemma3_text", "own", {"keep_window": False}),
    ("gpt_neox", "llama3", {"theta": 70_000.0}),
    ("stablelm", "own", {}),
    ("phi", "weighted yarn", {"method": "yarn"}),
    ("deepseek_v3", "weighted yarn", {"method": "yarn"}),
    ("smollm3", "own", {"method": "linear"}),
]


def with_rule(kind: str, rule: dict[str, Any]) -> PreTrainedModel:
    """The tiny model of a kind, its RoPE by `rule` where one is given."""
    model = tiny(kind)
    values = model.config.to_dict()
    kept = {key: value for key, value in values["rope_parameters"].items() if not rule or key != "rope_type"}
    other = type(model)(type(model.config).from_dict(values | {"rope_parameters": kept | rule})).eval()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize(("kind", "rule", "options"), TABLE, ids=lambda given: str(given).replace("'", ""))
def test_a_written_folder_is_the_extended_model_whoever_reads_it(
    kind: str, rule: str, options: dict[str, Any], tmp_path: Path, tokenizer
) -> None:
    base, out, old = (tmp_path / name for name in ("base", "out", "old"))
    with_rule(kind, RULES[rule]).save_pretrained(base)
    tokenizer.save_pretrained(base)
    extend, ids = Extend(length=LONG, **options), prompt(1, PAST)
    expected = run(load_model(base, extend=extend).model, ids)
    out.mkdir()
    write_checkpoint(base, out, extend)
    model = AutoModelForCausalLM.from_pretrained(out).eval()
    same("the folder", run(model, ids), expected, 1e-5)
    same("the folder, extended as it is already", run(load_model(out, extend=extend).model, ids), expected, 1e-5)
    same("token by token over the old context's end", decoded(model, ids, CONTEXT - 4), expected[:, CONTEXT - 4 :])
    shutil.copytree(out, old)
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "rope_parameters"}))
    same("by its old names alone", run(AutoModelForCausalLM.from_pretrained(old).eval(), ids), expected, 1e-5)


@torch.no_grad()
def decoded(model: Any, ids: torch.Tensor, start: int) -> torch.Tensor:
    """Logits from `start` on, one token after another with a cache."""
    cache, found = model(ids[:, :start], use_cache=True).past_key_values, []
    for place in range(start, ids.shape[1]):
        output = model(ids[:, place : place + 1], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        found.append(output.logits)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("method", ["linear", "yarn"])
def test_twice_is_once(method: str, tmp_path: Path, tokenizer) -> None:
    tiny("llama").save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "out").mkdir()
    write_checkpoint(tmp_path / "base", tmp_path / "out", Extend(length=300, method=method))
    once, twice = (
        load_model(tmp_path / name, extend=Extend(length=700, method=method)).model for name in ("base", "out")
    )
    same("extended in two steps", run(twice, prompt(1, PAST)), run(once, prompt(1, PAST)), 1e-5)
    assert stack_of(twice).config.rope_parameters["factor"] == pytest.approx(700 / CONTEXT)
