"""How many bytes a training step needs, layer by layer, and which rung of recomputation each layer gets for that.

Closed forms of a model's shape alone, so that a plan can be made for a machine that is not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from haymaker.config import Rung
from haymaker.models.shapes import Shape

RUNGS: tuple[Rung, ...] = get_args(Rung)
PIECE = 16_384  # tokens of an MLP at once: its inner width is several times the model's
LOGIT_BYTES = 256 * 2**20  # of float32 logits at once
BLOCK = 64  # queries at once in attention of small models on a CPU
MAX_SAVED_BYTES = 64 * 2**20  # of probabilities in such a call; beyond that torch's own attention is the better one
STATE_BYTES = 16  # of an adapter's parameter: itself, its gradient and Adam's two moments, all in float32
MOVED_GRADIENTS = 3  # hidden states alive at once while gradients go down
USABLE = 0.93  # of the free memory: the rest is what an allocator cannot fill
# What a process on a CPU takes beside its tensors: kernels' code, and holes that malloc cannot give back. With SmolLM2
# it was 1.24 to 1.45 times the tensors' bytes in bfloat16, 1.03 to 1.06 in float32 (docs/log.md, 2026-11-27).
KERNEL_BYTES, HEAP, HEAP_HALF = 40 * 2**20, 1.1, 1.3


@dataclass(frozen=True)
class Largest:
    """What is known of the largest micro-batch beside its tokens.

    answers: answer tokens, None for all. row: on a CPU, tokens of its longest row; None: it is on a GPU.
    """

    answers: int | None = None
    row: int | None = None


ON_GPU = Largest()


def as_one_of(shape: Shape, processes: int, context: int, shard: bool) -> Shape:
    """The shape as one of several processes has it, `context` of which share their rows: a token of its own goes with
    the keys of all of them. Of weights that are shared it has its part of the layers, two whole (one runs, one comes),
    and all that is no layer."""
    layers = shape.element * shape.layers * shape.layer_weights
    held = shape.base_bytes - layers + layers // processes + 2 * layers // shape.layers
    base = min(held, shape.base_bytes) if shard else shape.base_bytes
    return replace(shape, key_value=context * shape.key_value, base_bytes=base)


def kept_bytes(shape: Shape, rung: Rung) -> int:
    """Bytes that a layer keeps of one token from its forward to its backward pass."""
    own = shape.element * shape.hidden
    output = shape.element * shape.query + 4 * shape.heads  # and its normaliser
    halves = {
        "offload": 0,
        "full": own,
        "attention": own + output,
        "mlp": 2 * own + output + shape.element * (shape.query + 2 * shape.key_value),
    }
    if rung != "none":
        return halves[rung]
    return halves["mlp"] + shape.element * shape.inner * (3 if shape.mlp_adapted else 2)


def passing_bytes(shape: Shape, tokens: int, rung: Rung) -> int:
    """Bytes that stand only while one layer's gradients are made."""
    element, moved = shape.element, MOVED_GRADIENTS * shape.element * shape.hidden * tokens
    attention = (element * (2 * shape.query + 2 * shape.key_value) + 4 * shape.query) * tokens
    if rung == "none":
        return moved + max(attention, 4 * element * shape.inner * tokens)
    mlp = 7 * element * shape.inner * min(tokens, PIECE)
    again = 0 if rung == "mlp" else kept_bytes(shape, "mlp") * tokens
    return moved + again + max(attention, mlp)


def probability_bytes(shape: Shape, tokens: int, row: int | None) -> int:
    """Bytes of probabilities that a layer keeps of one token: of small models in full precision on a CPU."""
    kept = 2 * shape.heads * ((row or 0) + BLOCK)  # float32, of half of the square
    return kept if row is not None and shape.element >= 4 and kept * tokens <= MAX_SAVED_BYTES else 0


def peak_bytes(shape: Shape, tokens: int, rungs: Sequence[Rung], *, largest: Largest = ON_GPU) -> int:
    """The most bytes in use in a step whose largest micro-batch has `tokens` tokens."""
    attended = rungs.count("none") * probability_bytes(shape, tokens, largest.row)
    kept = (sum(kept_bytes(shape, rung) for rung in rungs) + attended) * tokens
    passing = max(passing_bytes(shape, tokens, rung) for rung in set(rungs))
    answers = tokens if largest.answers is None else min(tokens, largest.answers)
    added = STATE_BYTES * shape.adapter + kept + max(passing, loss_bytes(shape, answers))
    heap = HEAP_HALF if shape.element < 4 else HEAP
    return shape.base_bytes + (added if largest.row is None else round(heap * added) + KERNEL_BYTES)


def loss_bytes(shape: Shape, rows: int) -> int:
    """Logits of a piece of rows in the model's precision and in float32, and their softmax."""
    return (8 + shape.element) * min(rows * shape.vocabulary, LOGIT_BYTES // 4)


def rungs_of(
    recompute: Rung | Literal["auto"], shape: Shape, tokens: int, free: float, largest: Largest = ON_GPU
) -> list[Rung]:
    """What a config says for all layers, or a plan by the memory that is free."""
    return planned(shape, tokens, free, largest) if recompute == "auto" else [recompute] * shape.layers


def planned(shape: Shape, tokens: int, free: float, largest: Largest = ON_GPU) -> list[Rung]:
    """The cheapest rung for every layer that fits into `free` bytes in all; the last one where nothing does.

    All layers stand on one rung or the one before it: as many as fit on the faster.
    """
    for number, rung in enumerate(RUNGS):
        everywhere: list[Rung] = [rung] * shape.layers
        if peak_bytes(shape, tokens, everywhere, largest=largest) <= free:
            return raised(shape, tokens, free, number, largest=largest)
    return [RUNGS[-1]] * shape.layers


def raised(shape: Shape, tokens: int, free: float, number: int, *, largest: Largest) -> list[Rung]:
    fast: list[Rung] = [RUNGS[max(0, number - 1)]]
    slow: list[Rung] = [RUNGS[number]]
    for count in range(shape.layers, -1, -1):
        rungs = fast * count + slow * (shape.layers - count)
        if peak_bytes(shape, tokens, rungs, largest=largest) <= free:
            return rungs
    raise AssertionError("the slower rung alone fits, as the caller found")


def said(rungs: Sequence[Rung]) -> str:
    """A plan in words, as in "mlp in 30 layers, none in 2"."""
    return ", ".join(f"{rung} in {rungs.count(rung)} layers" for rung in RUNGS if rung in rungs)
