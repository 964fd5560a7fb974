"""Two published selectors of long training data, which read attention and train nothing.

Both are scores of one row under the untrained model, higher for rows with more long-range dependency. Rows are read in
full; of a long row at most `QUERIES` queries, evenly spread, stand for all.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from haymaker.attention.probing import probe
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded, Span

QUERIES, MOST_KEYS = 256, 4_096
BLOCKS, GAP = 16, 4  # spans of a row; LADM's spans are of 128 tokens, and its gaps of 4 spans
FAR = 1 / 4  # of a row: LongAttn counts attention at least so far back
UNEVEN = 0.5  # what LongAttn's variance counts beside its strength


def read(lm: LanguageModel, item: Encoded) -> None:
    """One forward, of which nothing is kept but what a probe sees."""
    with torch.inference_mode():
        lm.model(input_ids=torch.tensor([item.input_ids], device=lm.device), use_cache=False, logits_to_keep=1)


def queries(length: int, start: int = 0) -> list[int]:
    """Positions from `start` on, at most QUERIES, evenly spread."""
    return sorted({int(place) for place in np.linspace(start, length - 1, min(QUERIES, length - start))})


# ---- LADM


def ladm(lm: LanguageModel, item: Encoded) -> float:
    """LADM's contextual dependency score of a row (Chen et al. 2025, arXiv 2503.02502).

    The row is cut into spans; the pairwise focus score of two is the attention that tokens of the later pay to the
    earlier, mean over heads and layers. A span's aggregated focus score is the sum of these, weighted by distance,
    times their standard deviation; the row's score is the mean of those, weighted by place.

    Simplified: 16 spans instead of spans of 128 tokens, and the probed model itself instead of a TinyLlama continued to
    32K. The paper's text was not at hand: how the three scores are put together follows the published script's options
    (gaps of four spans; the standard deviation and the weights by length, each of which it can leave out). A row of
    fewer tokens than spans has nothing distant to depend on: 0.
    """
    if len(item) < BLOCKS:
        return 0.0
    edges = np.linspace(0, len(item), BLOCKS + 1).astype(int)
    spans = {str(i): Span(int(edges[i]), int(edges[i + 1])) for i in range(BLOCKS)}
    rows = queries(len(item))
    with probe(lm.model, rows=rows, spans=spans) as seen:
        read(lm, item)
    mass = np.stack([seen.mass[name].numpy() for name in spans], axis=-1)  # layer, batch, head, row, span
    focus = np.nan_to_num(mass).mean(axis=(0, 1, 2))  # a span that is still to come has no mass
    of_row = np.searchsorted(edges, rows, side="right") - 1
    return contextual_dependency(np.stack([focus[of_row == span].mean(axis=0) for span in range(BLOCKS)]))


def contextual_dependency(focus: Float[ndarray, "later earlier"]) -> float:
    """The row's score from the pairwise ones."""
    spans, places = len(focus), range(GAP, len(focus))
    aggregated = []
    for later in places:
        pairs = focus[later, : later - GAP + 1]
        distance = (later - np.arange(len(pairs))) / spans
        aggregated.append(pairs.std() * float(distance @ pairs))
    return float(np.average(aggregated, weights=[place / spans for place in places]))


# ---- LongAttn


def long_range(lm: LanguageModel, item: Encoded) -> tuple[float, float]:
    """LongAttn's strength and variance of a row in the first layer, each the mean over heads (Wu et al. 2025, arXiv
    2502.16860, and its published script).

    Strength is the attention a token pays to tokens at least a quarter of the row back, mean over tokens; variance is
    that of the single entries of this part of the matrix, the others being 0.
    """
    length, far = len(item), int(len(item) * FAR)
    rows = queries(length, far)
    first = min(layers_with_attention(lm))
    with probe(lm.model, rows=rows, topk=min(length, MOST_KEYS), layers=[first]) as seen:
        read(lm, item)
    weights, places = seen.top_probability[first, 0].numpy(), seen.top_position[first, 0].numpy()
    reach = np.array(rows)[None, :, None] - far
    weights = np.where((places >= 0) & (places <= reach), np.nan_to_num(weights), 0.0)
    share = (length - far) / length  # tokens of the first quarter have nothing so far back
    strength = weights.sum(axis=-1).mean(axis=-1) * share
    squares = (weights**2).sum(axis=-1).mean(axis=-1) * share / length
    return float(strength.mean()), float((squares - (strength / length) ** 2).mean())


def layers_with_attention(lm: LanguageModel) -> Iterable[int]:
    from haymaker.attention.canary import check_architecture

    return check_architecture(lm.model).layers


def long_attention(found: Sequence[Sequence[tuple[float, float]]]) -> list[Float[ndarray, " row"]]:
    """LongAttn's score of every row of every candidate: strength less half the variance, both 0 to 1 over the pool."""
    pool = np.array([pair for rows in found for pair in rows])
    low, width = pool.min(axis=0), np.ptp(pool, axis=0)
    scaled = [np.where(width > 0, (np.array(rows) - low) / np.where(width > 0, width, 1), 0.5) for rows in found]
    return [pairs[:, 0] - UNEVEN * pairs[:, 1] for pairs in scaled]
