"""RoPE in closed form: the frequencies that a config's parameters promise, and those of an extended context.

A rule's parameters are one entry of transformers' `rope_parameters`. Everything is a function of them, in float64; the
model is compared with it (extend.py).
"""

import math
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from haymaker.config import Extend
from haymaker.errors import ExtensionError
from haymaker.models.rope_ways import Parameters, kind_of, way_of

SAME_TEMPERATURE = 1e-3  # relative; configs round it


def ntk_theta(theta: float, factor: float, rotated_dims: int, slowest: int | None = None) -> float:
    """NTK-aware RoPE base: theta * factor^(d / (d - 2)), so the slowest frequency slows down by exactly `factor`.

    slowest: the pair of dimensions that turns slowest, the last one unless told otherwise.
    Source: bloc97, "NTK-Aware Scaled RoPE" (2023); the base that Zhao et al. 2025 call theta scaling.
    """
    slowest = rotated_dims // 2 - 1 if slowest is None else slowest
    if slowest < 1:
        raise ExtensionError(
            f"NTK-aware theta needs more than 2 rotated dimensions, found {rotated_dims}; give extend.theta"
        )
    return theta * factor ** (rotated_dims / (2 * slowest))


def frequencies(theta: float, rotated_dims: int) -> Float64[Tensor, "pair"]:
    """theta^(-2i/d) for i in 0..d/2-1, in radians per token (Su et al. 2021, eq. 15)."""
    return theta ** (-torch.arange(0, rotated_dims, 2, dtype=torch.float64) / rotated_dims)


def turned_pairs(parameters: Parameters, pairs: int) -> int:
    """How many pairs turn at all; the others of a proportional rule stand still (Gemma 4)."""
    share = parameters.get("partial_rotary_factor", 1.0) if kind_of(parameters) == "proportional" else 1.0
    return int(share * pairs)


def frequencies_of(parameters: Parameters, pairs: int) -> Float64[Tensor, "{pairs}"] | None:
    """The frequencies of a rule in radians per token; None for a rule that is not known in closed form."""
    kind, plain = kind_of(parameters), frequencies(float(parameters["rope_theta"]), 2 * pairs)
    if kind == "default":
        return plain
    if kind == "linear":
        return plain / parameters["factor"]
    if kind == "proportional":
        plain[turned_pairs(parameters, pairs) :] = 0
        return plain / parameters.get("factor", 1.0)
    if kind == "yarn":
        return yarn_frequencies(parameters, plain)
    return llama3_frequencies(parameters, plain) if kind == "llama3" else None


def yarn_frequencies(parameters: Parameters, plain: Float64[Tensor, "pair"]) -> Float64[Tensor, "pair"]:
    """Slow pairs divided by the factor, fast ones as they were, between them a ramp over pairs (Peng et al. 2023)."""
    pairs, length = len(plain), parameters["original_max_position_embeddings"]
    log_theta = math.log(parameters["rope_theta"])

    def pair_turning(times: float) -> float:
        """Which pair turns so often within the original length."""
        return pairs * math.log(length / (times * 2 * math.pi)) / log_theta

    low = pair_turning(float(parameters.get("beta_fast") or 32))
    high = pair_turning(float(parameters.get("beta_slow") or 1))
    if parameters.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * pairs - 1)
    ramp = (torch.arange(pairs, dtype=torch.float64) - low) / (high - low if high != low else 0.001)
    slowed = ramp.clamp(0, 1)
    return plain / parameters["factor"] * slowed + plain * (1 - slowed)


def llama3_frequencies(parameters: Parameters, plain: Float64[Tensor, "pair"]) -> Float64[Tensor, "pair"]:
    """Slow pairs divided by the factor, by how often they turn within the original length (Llama 3.1's rule)."""
    turns = parameters["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return plain / parameters["factor"] * (1 - kept) + plain * kept


def attention_scale(parameters: Parameters) -> float:
    """What cos and sin are multiplied with: YaRN's temperature, or what its parameters say instead."""
    if kind_of(parameters) != "yarn":
        return 1.0
    given = parameters.get("attention_factor")
    return yarn_temperature(parameters) if given is None else float(given)


def yarn_temperature(parameters: Parameters) -> float:
    """0.1 ln s + 1, weighted where the parameters have weights (DeepSeek)."""

    def temperature(weight: float) -> float:
        return 0.1 * weight * math.log(parameters["factor"]) + 1.0 if parameters["factor"] > 1 else 1.0

    weight, all_dims = parameters.get("mscale"), parameters.get("mscale_all_dim")
    return temperature(float(weight)) / temperature(float(all_dims)) if weight and all_dims else temperature(1.0)


# ---- extending a rule


def reach_of(parameters: Parameters, length: int) -> int:
    """Tokens that a rule serves: the config's length, or more where YaRN was added and that length left as it was,
    which transformers allows and model cards tell people to do (Qwen 2.5 and 3)."""
    if kind_of(parameters) != "yarn" or not parameters.get("factor"):
        return length
    return max(length, round(parameters["original_max_position_embeddings"] * parameters["factor"]))


def extended_parameters(
    parameters: Parameters, extend: Extend, factor: float, length: int, pairs: int
) -> dict[str, Any]:
    """A rule's parameters for a context `factor` times as long; at a factor of 1 the same function.

    length: tokens of the model's context now. A theta is set as it is given. An attention factor that is spelled out
    grows where it is the one that YaRN's factor gives; any other is the model's own choice and stays.
    """
    new, way, theta = dict(parameters), way_of(extend), float(parameters["rope_theta"])
    new["rope_type"] = kind_of(parameters)
    if new["rope_type"] == "yarn" and not new.get("factor"):  # transformers then divides the new length by the original
        new["factor"] = length / new["original_max_position_embeddings"]
    if way == "ntk":
        new["rope_theta"] = ntk_theta(theta, factor, 2 * pairs, turned_pairs(parameters, pairs) - 1)
    elif way == "theta":
        if turned_pairs(parameters, pairs) < 2:
            raise ExtensionError("theta changes nothing where one pair of dimensions turns; use the method linear")
        new["rope_theta"] = extend.theta
    else:
        before, new["factor"] = dict(new), factor * (new.get("factor") or 1.0)
        if new["rope_type"] == "default":
            new["rope_type"] = way
            if way == "yarn":
                new["original_max_position_embeddings"] = length
        elif way == "yarn" and new.get("attention_factor") is not None:
            own, grown = yarn_temperature(before), yarn_temperature(new)
            if math.isclose(new["attention_factor"], own, rel_tol=SAME_TEMPERATURE):
                new["attention_factor"] *= grown / own
    return new
