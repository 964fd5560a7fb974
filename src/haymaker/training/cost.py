"""What a training step costs before it is taken: floating-point operations and, for a known device, seconds.

Counted as 2 m n k for each product, causal attention as half of the square, its backward pass as 2.5 times its forward;
the base is frozen, so its backward pass has the gradient of the input alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from haymaker.choices import Device
from haymaker.config import Rung
from haymaker.models.shapes import Shape

# On a GPU no layer goes forwards and backwards in less, however few its tokens: launching its kernels takes so long. An
# H100: 7.4e-3 in 12 passes of short rows, 6.9e-3 in nine (benchmarks/results/gpu-train-*.md, 32 layers), and 6.9e-3 in
# trainings of SmolLM2, ten at a time (gpu-study-*.md, less starting and tracking).
LAUNCH_SECONDS = 7e-3


@dataclass(frozen=True)
class Cost:
    """Operations of a step's forwards and backwards: matrix products, attention forwards, attention backwards."""

    products: float
    attention: float
    attention_backward: float
    moved_bytes: float

    @property
    def operations(self) -> float:
        return self.products + self.attention + self.attention_backward

    def seconds(self, device: Device) -> float:
        """Seconds on a device that does nothing else."""
        busy = self.products / device.products + self.attention / device.attention
        return busy + self.attention_backward / device.attention_backward + self.moved_bytes / device.bandwidth

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.products + other.products,
            self.attention + other.attention,
            self.attention_backward + other.attention_backward,
            self.moved_bytes + other.moved_bytes,
        )


def cost_of_row(shape: Shape, tokens: int, answer: int, rungs: Sequence[Rung]) -> Cost:
    """Operations of one row of `tokens` tokens, `answer` of them in the loss; the last layer for those alone."""
    dense, attention = 2.0 * shape.layer_weights * tokens, 2.0 * shape.query * tokens**2
    gates, down = 4.0 * shape.hidden * shape.inner * tokens, 2.0 * shape.hidden * shape.inner * tokens
    again = {"none": 0.0, "mlp": gates, "attention": dense - down, "full": dense - down, "offload": dense - down}
    inside = shape.layers - 1
    passes = {"none": 0.0, "mlp": 0.3, "attention": 1.0, "full": 1.0, "offload": 1.0}
    width = shape.element * (4 * shape.hidden + 2 * shape.query + 3 * shape.inner) * tokens
    recomputed = sum(again[rung] for rung in rungs[:inside])
    attended = sum(rung in ("full", "offload") for rung in rungs[:inside])
    keys = 4.0 * shape.hidden * shape.key_value * tokens
    pruned = min(answer, tokens) / tokens
    last = keys + (dense - keys) * pruned
    head = 4.0 * shape.vocabulary * shape.hidden * answer
    return Cost(
        2 * (inside * dense + last) + recomputed + head + 6.0 * shape.adapter * tokens,
        (inside + attended + 2 * pruned) * attention,
        (inside + 2 * pruned) * 2.5 * attention,
        width * (2.5 * inside + sum(passes[rung] for rung in rungs[:inside])),
    )


def together_seconds(costs: Iterable[Cost], layers: int, device: Device, gpu: bool) -> float:
    """Seconds of rows that go forwards and backwards together: to compute them or, if that is more, to launch it."""
    return max(sum(cost.seconds(device) for cost in costs), LAUNCH_SECONDS * layers if gpu else 0.0)
