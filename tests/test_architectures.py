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
    # two attentions with one index, of which one runs; no positions are asked for, so padding shifts them
    "bart": {"write": NO_RMS, "answers": "padded to one length give other logits .*batch=1"},
    "bamba": {},  # counts positions from 0 in every forward, unless they are given
    # a layer has the keys of an earlier one, at those positions alone whose logits are asked for; heads of two widths
    "gemma4_text": {},
    "deepseek_v3": {},  # latent attention: values narrower than keys
    "minicpm3": {},  # a factor on what layers add
    # norms in the residual stream, a cache of its own
    "minimax": {"write": "other modules stand on every way", "answers": "fails where it decodes .*no answer can be"},
    "mamba": dict.fromkeys(["probe", "Zero", "write", "causal map"], "found no layer that uses it")
    | {"answers": "no context length"},
    "xlm": dict.fromkeys(["probe", "Zero", "write", "causal map"], "found no layer that uses it")
    | {"answers": "read one by one, over a cache, give other logits"},  # takes no cache, without a word
}


@pytest.mark.parametrize("kind", KINDS)
def test_laws_hold_or_are_refused(kind: str) -> None:
    for law in ("probe", "Zero", "write", "causal map", "answers"):
        refusal = KINDS[kind].get(law)
        if refusal is None:
            LAWS[law](tiny(kind))
        else:
            with pytest.raises(HaymakerError, match=refusal):
                LAWS[law](tiny(kind))
