"""The two axes of realism: how a fact is worded (concept), and what stands around it (context)."""

from haymaker.config import Setting

AXES: dict[Setting, tuple[str, str]] = {
    "real": ("real", "real"),
    "real-limited": ("real", "real"),
    "high-high": ("high", "high"),
    "high-low": ("high", "low"),
    "low-high": ("low", "high"),
    "low-low": ("low", "low"),
    "symbolic": ("symbolic", "symbolic"),
}
"""Setting -> (concept, context)."""
