"""A dozen architectures that differ in kind, each law against its oracle; all by benchmarks/architectures.py."""

import pytest
from any_architecture import tiny
from architecture_laws import LAWS

from haymaker.errors import HaymakerError

NO_RMS = r"norms that only scale \(RMS\)"
KINDS: dict[str, dict[str, str]] = {
    "glm4": {},  # norms behind attention and MLP under other names than Gemma 2's
    "gemma3_text": {},  # a RoPE for each kind of layer
    "llama4_text": {},  # `get_decoder` gives the model; attention scaled by slot
    "gpt2": {"write": NO_RMS},  # Conv1D, LayerNorm
    "afmoe": {},  # a gate, and the mask by keyword
    "modernbert-decoder": {"write": NO_RMS},  # a head that is named decoder
    "falcon_h1": {},  # attention and a state space in one layer
    "bart": {"write": NO_RMS},  # two attentions with one index, of which one runs
    "deepseek_v3": {},  # latent attention: values narrower than keys
    "minicpm3": {},  # a factor on what layers add
    "minimax": {"write": "other modules stand on every way"},  # norms in the residual stream
    "mamba": dict.fromkeys(["probe", "Zero", "write", "causal map"], "found no layer that uses it"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_laws_hold_or_are_refused(kind: str) -> None:
    for law in ("probe", "Zero", "write", "causal map"):
        refusal = KINDS[kind].get(law)
        if refusal is None:
            LAWS[law](tiny(kind))
        else:
            with pytest.raises(HaymakerError, match=refusal):
                LAWS[law](tiny(kind))
