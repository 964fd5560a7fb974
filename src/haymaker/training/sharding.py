"""The base's weights in parts: each process keeps its part of every layer, and has a layer whole only while it runs.

torch's `fully_shard` (FSDP2) gathers, fetches ahead and lets go; accelerate would wrap the same call, and the optimizer
and the checkpoint with it, which here hold the adapter alone: that stays whole in every process.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from haymaker.errors import ConfigError, ModelError
from haymaker.models.forward import layers_of, other_forwards
from haymaker.models.handshake import base_of
from haymaker.models.lora import lora_parameters
from haymaker.training.parallel import World

Found = TypeVar("Found")


def sharding_device() -> torch.device:
    """Where the parts go: the weights themselves may still be in the CPU's memory, and need not fit on a GPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def shard_base(model: Any, world: World) -> None:
    """Leave this process its part of the base's weights; the adapter stays whole. All processes must call it.

    Raises ConfigError for one process alone, ModelError for a model whose layers are not found or not plain tensors.
    """
    if world.size == 1:
        raise ConfigError(
            "shard: processes share the weights, but one was started, which has them all; start several "
            "(torchrun --nproc-per-node 2 -m haymaker train ...), or leave shard out"
        )
    base = base_of(model)
    layers, kind = layers_of(base), base.config.model_type
    if not layers or getattr(base, "hf_quantizer", None) is not None:
        raise ModelError(
            f"shard: expected a list of layers with weights of plain numbers, found none in {kind}; a quantised base, "
            "or one of another build, is trained whole: leave shard out"
        )
    place, adapter = sharding_device(), list(lora_parameters(model).values())
    for weight in adapter:
        weight.data = weight.data.to(place)
    mesh = init_device_mesh(place.type, (world.size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=set(adapter))
    fully_shard(base, mesh=mesh, reshard_after_forward=False, ignored_params=set(adapter))


def is_sharded(model: nn.Module) -> bool:
    return isinstance(model, FSDPModule)


def inside(module: nn.Module, run: Callable[..., Found], *values: Any) -> Found:
    """What `run` finds, in place of the module's forward where its weights have to be gathered around that."""
    if not is_sharded(module):
        return run(*values)
    with other_forwards({module: run}):
        return module(*values)


def let_go(model: Any) -> None:
    """Gather nothing until the next forward, which all processes must take part in."""
    base = base_of(model)
    if isinstance(base, FSDPModule):
        base.reshard()
