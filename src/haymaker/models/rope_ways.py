"""In which ways a model's RoPE can be extended, by its config alone. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from haymaker.config import Extend
from haymaker.errors import ExtensionError

Parameters = Mapping[str, Any]
# by what a base's rule is, the ways in which it can be extended: those that keep it, or that it is made of
WAYS = {
    "default": ("ntk", "theta", "linear", "yarn"),
    "proportional": ("ntk", "theta", "linear"),
    "linear": ("ntk", "theta", "linear"),
    "yarn": ("ntk", "theta", "yarn"),
    "llama3": ("ntk", "theta"),
}
WHY_NOT = {
    "longrope": "its factors were searched for one length, frequency by frequency, and no rule carries them further",
    "dynamic": "it raises its own base with every longer prompt already",
}


def kind_of(parameters: Parameters) -> str:
    """The rule: default, linear, yarn, llama3, ..."""
    return str(parameters.get("rope_type", "default"))


def way_of(extend: Extend) -> str:
    """The way that is asked for: a given theta is one of its own."""
    return extend.method or ("ntk" if extend.theta is None else "theta")


def check_way(parameters: Parameters, extend: Extend, name: str) -> None:
    """Raises ExtensionError, which says why, for a rule that cannot be extended in the way that is asked for."""
    kind, way = kind_of(parameters), way_of(extend)
    if kind not in WAYS:
        reason = WHY_NOT.get(kind, "Haymaker does not know its frequencies in closed form, and could not verify them")
        raise ExtensionError(f"{name} uses RoPE of type {kind!r}, which cannot be extended: {reason}")
    if way not in WAYS[kind]:
        raise ExtensionError(
            f"{name} uses RoPE of type {kind!r}, and no config says {way} on top of it; "
            f"expected extend.method one of {', '.join(WAYS[kind])}"
        )
    theta = parameters.get("rope_theta")
    if extend.theta is not None and isinstance(theta, int | float) and extend.theta < theta:
        raise ExtensionError(
            f"extend.theta: expected at least the base of {name}, {theta:g}, found {extend.theta:g}; a lower one turns "
            "every position further, where a longer context needs less. Without theta it follows from the length"
        )


def said_by(about: Mapping[str, Any]) -> Parameters:
    """The RoPE parameters of a config.json as they stand there, old names or new, of the layers that see everything."""
    given = about.get("rope_parameters") or {}
    given = given.get("full_attention") or given
    scaling = about.get("rope_scaling") or {}
    found = {key: about[key] for key in ("rope_theta",) if key in about} | scaling | given
    kind = found.get("rope_type") or found.get("type")
    return found | ({"rope_type": kind} if kind else {})
