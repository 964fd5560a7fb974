"""Pure statistics: intervals, paired tests, rank correlation, nulls of head sets. No torch, no files."""

from haymaker.stats.comparisons import (
    Paired,
    detectable,
    holm,
    paired,
    pooled_effect,
    share_interval,
    sign_flip,
)
from haymaker.stats.intervals import (
    DIFFERENCES,
    ROUNDING,
    SCORES,
    Interval,
    Number,
    Reach,
    bootstrap_crossed,
    bootstrap_grid,
    bootstrap_mean,
    known,
    resampled_means,
)
from haymaker.stats.nulls import Null, hoyer, null_of_draws, shared_by_layers
from haymaker.stats.ranks import (
    Correlation,
    spearman,
    spearman_interval,
    spearman_within,
    split_half,
    top_stability,
)

__all__ = [
    "DIFFERENCES",
    "ROUNDING",
    "SCORES",
    "Correlation",
    "Interval",
    "Null",
    "Number",
    "Paired",
    "Reach",
    "bootstrap_crossed",
    "bootstrap_grid",
    "bootstrap_mean",
    "detectable",
    "holm",
    "hoyer",
    "known",
    "null_of_draws",
    "paired",
    "pooled_effect",
    "resampled_means",
    "share_interval",
    "shared_by_layers",
    "sign_flip",
    "spearman",
    "spearman_interval",
    "spearman_within",
    "split_half",
    "top_stability",
]
