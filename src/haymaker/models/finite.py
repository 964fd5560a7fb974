"""Which weights are at fault where a model's numbers are not finite."""

from torch import nn


def at_fault(model: nn.Module) -> str:
    """What to say behind "are not finite": the first weights that are not either, by name, and what to do."""
    bad = [name for name, weight in model.named_parameters() if not weight.is_meta and not weight.isfinite().all()]
    if not bad:
        return "and of its weights all are; load it with dtype float32"
    return f"and of its weights {', '.join(bad[:3])} are not finite; load whole weights"
