"""Linear projections with LoRA, several of one input in one pass, in the base's own precision.

PEFT reads the input once for every projection and, where the base is in half precision, copies it to float32 each time.
Here all A matrices multiply it together, the base's product accumulates on B's, and what stands before the projections
(a norm) is computed again in the backward pass instead of being kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from peft.tuners.lora import Linear
from torch import Tensor, nn

from haymaker.models.products import product, product_onto

Before = Callable[[Tensor], Tensor]
MAX_MERGED_DIM = 512  # of a projection's input, on a CPU: for wider ones LoRA's thin products cost little


@dataclass(frozen=True)
class Projection:
    """One linear layer, frozen, and the LoRA matrices on it where there are any: W x + b + scale B A x."""

    weight: Float[Tensor, "out dim"]
    bias: Tensor | None
    down: nn.Parameter | None = None  # A [rank, dim]
    up: nn.Parameter | None = None  # B [out, rank]
    scale: float = 1.0

    @property
    def adapters(self) -> tuple[nn.Parameter, ...]:
        return () if self.down is None or self.up is None else (self.down, self.up)


@dataclass(frozen=True)
class Joint:
    """What is done to one input: perhaps a norm, several projections, perhaps a sum onto what was there before."""

    projections: tuple[Projection, ...]
    before: Before | None
    wants_values: bool  # False: only the gradient is asked for, nobody reads the outputs

    @property
    def adapters(self) -> list[nn.Parameter]:
        return [weight for projection in self.projections for weight in projection.adapters]

    @property
    def needs_input(self) -> bool:
        """Whether the gradient depends on what the input was: of frozen products alone it does not."""
        return self.before is not None or bool(self.adapters)


def is_plain(module: Any) -> bool:
    """Whether a module is a linear layer, with at most one LoRA adapter on it and nothing else in its forward."""
    if has_plain_weight(module):
        return True
    if not isinstance(module, Linear) or not has_plain_weight(module.get_base_layer()) or module.merged:
        return False
    dropout = any(not isinstance(part, nn.Identity) for part in module.lora_dropout.values())
    other = getattr(module, "lora_variant", None) or any(getattr(module, "lora_bias", {}).values())
    return not dropout and not other and len(module.active_adapters) == 1 and not module.disable_adapters


def has_plain_weight(module: Any) -> bool:
    """Whether a module is torch's linear layer over a matrix of numbers: torchao puts quantised ones into it."""
    return type(module) is nn.Linear and type(module.weight) in (nn.Parameter, torch.Tensor)


def projection_of(module: Any) -> Projection:
    """A plain module's weights, looked up anew each time: PEFT may have put others there."""
    if not isinstance(module, Linear):
        return Projection(module.weight, module.bias)
    base, name = module.get_base_layer(), module.active_adapters[0]
    down, up = module.lora_A[name].weight, module.lora_B[name].weight
    return Projection(base.weight, base.bias, down, up, module.scaling[name])  # type: ignore[arg-type]


def project(
    modules: Sequence[Any],
    x: Float[Tensor, "*rest dim"],
    before: Before | None = None,
    onto: Float[Tensor, "*rest out"] | None = None,
    *,
    wants_values: bool = True,
) -> tuple[Tensor, ...]:
    """Every module's output for `before(x)`; `onto` is added to each. Modules that are not plain run as they are."""
    if not all(is_plain(module) for module in modules):
        inner = x if before is None else before(x)
        outputs = tuple(module(inner) for module in modules)
        return outputs if onto is None else tuple(onto + output for output in outputs)
    joint = Joint(tuple(projection_of(module) for module in modules), before, wants_values)
    return JointProjections.apply(joint, x, onto, *joint.adapters)


class JointProjections(torch.autograd.Function):
    """Keeps its input where that is needed, and of LoRA only x A'. Gradients flow into x, `onto` and the adapters; the
    base is frozen."""

    @staticmethod
    def forward(context: Any, joint: Joint, x: Tensor, onto: Tensor | None, *adapters: Tensor) -> tuple[Tensor, ...]:
        inner = x if joint.before is None else joint.before(x)
        flat = inner.reshape(-1, inner.shape[-1])
        thin = thin_products(joint, flat)
        context.save_for_backward(*([x] if joint.needs_input else []), *thin)
        context.joint, context.has_onto, context.shape = joint, onto is not None, x.shape
        outputs = []
        for projection, part in zip(joint.projections, spread(joint, thin), strict=True):
            shape = (*x.shape[:-1], len(projection.weight))
            if joint.wants_values:
                # of a view FSDP2 fears that it is written over
                outputs.append(torch.ops.aten._unsafe_view(value_of(projection, flat, part, onto), shape))
            else:
                outputs.append(x.new_zeros(()).expand(shape))
        return tuple(outputs)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        joint, wants_x = context.joint, context.needs_input_grad[1]
        flats = [gradient.reshape(-1, gradient.shape[-1]) for gradient in gradients]
        onto = sum(gradients[1:], gradients[0]) if context.has_onto else None
        if not joint.needs_input:
            frozen: list[None] = [None] * len(flats)
            return None, input_gradient(joint, flats, frozen).view(context.shape) if wants_x else None, onto
        x, *thin = context.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_(wants_x)
            inner = leaf if joint.before is None else joint.before(leaf)
        flat = inner.detach().reshape(-1, inner.shape[-1])
        d_thin, d_adapters = adapter_gradients(joint, flat, thin, flats)
        d_x = None
        if wants_x:
            d_inner = input_gradient(joint, flats, d_thin).view(inner.shape)
            d_x = d_inner if joint.before is None else torch.autograd.grad(inner, leaf, d_inner)[0]
        return None, d_x, onto, *d_adapters


def spread(joint: Joint, thin: Sequence[Tensor]) -> list[Tensor | None]:
    """One of `thin` for every projection that has an adapter, None for the others."""
    left = iter(thin)
    return [next(left) if projection.adapters else None for projection in joint.projections]


def thin_products(joint: Joint, flat: Float[Tensor, "token dim"]) -> list[Float[Tensor, "token rank"]]:
    """x A' of every adapter: one product for all of them."""
    downs = [projection.down for projection in joint.projections if projection.down is not None]
    if not downs:
        return []
    joined = product(flat, torch.cat([down.detach() for down in downs]).to(flat.dtype))
    return [part.contiguous() for part in joined.split([len(down) for down in downs], dim=-1)]


def scaled_up(projection: Projection, dtype: torch.dtype) -> Float[Tensor, "out rank"]:
    assert projection.up is not None
    return (projection.up.detach() * projection.scale).to(dtype)


def merged(projection: Projection) -> Float[Tensor, "out dim"] | None:
    """W + scale B A where multiplying once is cheaper than three times: narrow layers on a CPU, in full precision."""
    weight = projection.weight
    if projection.down is None or projection.up is None or weight.shape[1] > MAX_MERGED_DIM:
        return None
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.float64):
        return None
    return torch.addmm(weight, projection.up.detach(), projection.down.detach(), alpha=projection.scale)


def value_of(projection: Projection, flat: Tensor, thin: Tensor | None, onto: Tensor | None) -> Tensor:
    """One output [token, out]. Every product accumulates on what is there, so nothing is read only to be added."""
    weight = merged(projection)
    if weight is not None:
        thin = None
    else:
        weight = projection.weight.detach()
    start = None if onto is None else onto.reshape(-1, onto.shape[-1])
    if start is None and thin is None:
        return product(flat, weight, projection.bias)
    if thin is None:
        assert start is not None
        output = product_onto(start, flat, weight)
    else:
        up = scaled_up(projection, flat.dtype).T
        output = (thin @ up if start is None else torch.addmm(start, thin, up)).addmm_(flat, weight.T)
    return output if projection.bias is None else output.add_(projection.bias)


def adapter_gradients(
    joint: Joint, flat: Tensor, thin: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[list[Tensor | None], list[Tensor]]:
    """Gradients of x A', by projection, and of the adapters in their own precision."""
    d_thin: list[Tensor | None] = []
    found: list[Tensor] = []
    for projection, part, gradient in zip(joint.projections, spread(joint, thin), gradients, strict=True):
        if projection.down is None or projection.up is None or part is None:
            d_thin.append(None)
            continue
        d_part = gradient @ scaled_up(projection, gradient.dtype)
        d_thin.append(d_part)
        found.append((d_part.T @ flat).to(projection.down.dtype))
        found.append((gradient.T @ part).to(projection.up.dtype).mul_(projection.scale))
    return d_thin, found


def input_gradient(joint: Joint, gradients: Sequence[Tensor], d_thin: Sequence[Tensor | None]) -> Tensor:
    """dY W + d(x A') A, summed over the projections in place."""
    total: Tensor | None = None
    for projection, gradient, d_part in zip(joint.projections, gradients, d_thin, strict=True):
        weight = merged(projection)
        plain = projection.weight.detach() if weight is None else weight
        total = product(gradient, plain.T) if total is None else product_onto(total, gradient, plain.T)
        if weight is None and d_part is not None and projection.down is not None:
            total.addmm_(d_part, projection.down.detach().to(d_part.dtype))
    assert total is not None
    return total
