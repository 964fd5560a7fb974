"""Forwards that start in the middle: layers below the first edit hand on what they gave without it.

The model's own forward runs. Layers below the start are stood in for while a block is open: the one right below it
returns its kept output, those further down return what they get. So nothing of an architecture is written again here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.attention.canary import check_architecture
from haymaker.attention.edits import Edit, edit
from haymaker.attention.hook import decoder_of
from haymaker.attention.threads import of_this_thread
from haymaker.heads.proven_path import layer_name
from haymaker.models.forward import other_forwards
from haymaker.records import Encoded

_RELAYS: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()
_ONE_AT_A_TIME = RLock()  # modules get their own forwards back in the order in which they lost them


class Reached(Exception):
    """The layer whose output was wanted has given it."""


class Relay:
    """One example's forwards, from any layer on.

    `upwards` visits the layers in order; in its body `log_probabilities` starts at the layer visited. One hidden state
    [1, token, hidden] is kept at a time.
    """

    def __init__(self, model: Any, item: Encoded, tokens_at_once: int) -> None:
        self.model, self.item = model, item
        decoder = decoder_of(model)
        name = next(iter(check_architecture(model).layers.values())).name
        stack: Any = decoder.get_submodule(layer_name(name).rpartition(".")[0])
        self.layers: list[nn.Module] = list(stack)
        self.depth = len(self.layers)
        self.ids = torch.tensor([item.input_ids], device=next(model.parameters()).device)
        self.at_once = max(1, tokens_at_once // len(item))
        self.start = 0
        self.below: Any = None  # output of the layer below `start`
        if decoder not in _RELAYS:
            _RELAYS[decoder] = self._hands_on()
        self.reuses = _RELAYS[decoder]

    def plain(self) -> Float[Tensor, ""]:
        """log p of the gold answer, unedited (nats)."""
        return self._answer(1)[0]

    def upwards(self) -> Iterator[int]:
        """Layer by layer; after each its unedited output is kept for the next."""
        for layer in range(self.depth):
            self.start = layer if self.reuses else 0
            yield layer
            if self.reuses:
                self.below = self._output_of(layer)
                self.reuses = self.below is not None

    def _hands_on(self) -> bool:
        """Whether a forward from the last layer on gives what a whole one gives; layers that share more than one hidden
        state (Gemma 3n) do not, and then every forward is a whole one."""
        plain = self._answer(1)
        try:
            self.below, self.start = self._output_of(self.depth - 2), self.depth - 1
            found = self._answer(2)
        except Exception:  # whatever such layers make of a state that is not theirs
            return False
        finally:
            self.below, self.start = None, 0
        exact = torch.finfo(next(self.model.parameters()).dtype).eps < 1e-6
        return bool((found - plain).abs().max() <= (1e-3 if exact else 0.1) * plain.abs().max().clamp(min=1))

    def log_probabilities(self, edits: Sequence[Sequence[Edit]], scope: str) -> Float[Tensor, " n"]:
        """log p of the gold answer (nats) under each of several edits of layers from `start` on."""
        found = []
        for first in range(0, len(edits), self.at_once):
            some = edits[first : first + self.at_once]
            limited = [replace(one, batch_rows=[row]) for row, group in enumerate(some) for one in group]
            with edit(self.model, *limited, scope=scope, prompt_length=self.item.prompt_length):
                found.append(self._answer(len(some)))
        return torch.cat(found)

    @torch.no_grad()
    def _answer(self, batch: int) -> Float[Tensor, " batch"]:
        answer = self.ids[:, self.item.prompt_length :].expand(batch, -1)
        with self._standing_in(batch):
            logits = self.model(
                input_ids=self.ids.expand(batch, -1), use_cache=False, logits_to_keep=answer.shape[1] + 1
            ).logits[:, :-1]
        return logits.float().log_softmax(-1).gather(-1, answer[..., None])[..., 0].sum(-1)

    @torch.no_grad()
    def _output_of(self, layer: int) -> Any:
        """What a layer gives without edits; the layers above do not run. None for a layer that is left out."""
        kept: list[Any] = []

        def keep(_: nn.Module, __: Any, output: Any) -> None:
            kept.append(output)
            raise Reached

        hook = self.layers[layer].register_forward_hook(of_this_thread(keep))
        try:
            with self._standing_in(1):
                self.model(input_ids=self.ids, use_cache=False, logits_to_keep=1)
        except Reached:
            pass
        finally:
            hook.remove()
        return kept[0] if kept else None

    @contextmanager
    def _standing_in(self, batch: int) -> Iterator[None]:
        """Layers below `start` do nothing but hand on, in this thread."""
        functions: dict[nn.Module, Callable[..., Any]] = dict.fromkeys(self.layers[: self.start], handed_on)
        if self.start:
            functions[self.layers[self.start - 1]] = lambda *_, **__: expanded(self.below, batch)
        with (
            _ONE_AT_A_TIME,
            other_forwards({one: of_this_thread(function, one.forward) for one, function in functions.items()}),
        ):
            yield


def handed_on(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


def expanded(output: Any, batch: int) -> Any:
    """A layer's output for one row, as that of `batch` rows."""
    if isinstance(output, tuple):
        return tuple(expanded(part, batch) for part in output)
    return output.expand(batch, *output.shape[1:]) if isinstance(output, Tensor) else output
