"""Interventions: what a model answers without some of its heads, or with another model's heads in their place."""

from haymaker.interventions.ablation import ablate, ablate_sets, ablation_curve
from haymaker.interventions.attribution import attribute
from haymaker.interventions.causal import causal_map, set_effects
from haymaker.interventions.head_sets import HeadSet, ablation_sets, identity_sets, patching_sets, random_heads
from haymaker.interventions.parts import patching_parts
from haymaker.interventions.patching import patch, patch_many, patch_sets, patching_table
from haymaker.interventions.patching_runs import Patched

__all__ = [
    "HeadSet",
    "Patched",
    "ablate",
    "ablate_sets",
    "ablation_curve",
    "ablation_sets",
    "attribute",
    "causal_map",
    "identity_sets",
    "patch",
    "patch_many",
    "patch_sets",
    "patching_parts",
    "patching_sets",
    "patching_table",
    "random_heads",
    "set_effects",
]
