"""Which parts of a layer an adapter may stand on, and what is said where its ranks make no sense. Imports no torch."""

ATTENTION_NAMES = ("self_attn", "self_attention", "attention", "attn")
GROUPS = ("attention", "mlp")
UNUSED = "ranks: no {} is adapted, so its rank would say nothing; adapted are {}"
TOO_HIGH = (
    "rank: expected at most the smaller side of every product, of {} {}, found {}; more can learn nothing more: give a "
    "lower rank, or a lower one of its own by `ranks` of {}"
)
