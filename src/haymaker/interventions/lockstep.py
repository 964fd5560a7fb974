"""Donor and recipient in lockstep: the donor reads what the recipient reads, its own new tokens included."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from haymaker.attention.edits import Patch, edit
from haymaker.attention.recording import record
from haymaker.interventions.adapters import Shared, rows_as
from haymaker.models.handshake import base_of
from haymaker.records import Head


class TwoModels(nn.Module):
    """A recipient that calls its donor first, on the same tokens, and takes over the outputs of some heads.

    Of the donor's outputs those of the running forward are kept: 4 bytes (float32) per prompt token, head and
    dimension while the prompt is read.
    """

    def __init__(self, donor: Any, recipient: Any, heads: Sequence[Head], scope: str = "all") -> None:
        super().__init__()
        self.recipient, self.donor = recipient, donor  # in this order: callers ask for the first weight's device
        self.heads, self.scope, self.config = heads, scope, recipient.config
        self._cache: DynamicCache | None = None

    def get_base_model(self) -> PreTrainedModel:
        """The model that answers, as a PeftModel tells it."""
        return base_of(self.recipient)

    @torch.no_grad()
    def forward(self, input_ids: Tensor, past_key_values: Any = None, **options: Any) -> Any:
        if is_first(past_key_values):
            self._cache = DynamicCache(config=self.donor.config)
        place = next(self.donor.parameters()).device
        given = {name: value.to(place) if isinstance(value, Tensor) else value for name, value in options.items()}
        with record(self.donor, self.heads) as recording:
            self.donor(input_ids=input_ids.to(place), past_key_values=self._cache, **given)
        with edit(self.recipient, Patch(self.heads, recording), scope=self.scope):
            return self.recipient(input_ids=input_ids, past_key_values=past_key_values, **options)


class OneBatch(nn.Module):
    """A model whose batches carry, behind the recipient's rows, a donor row for each: nothing is stored.

    The caller's rows are `prompts` prompts for each of the head sets, set by set; a row of an empty set is the plain
    recipient. The prompt's donor rows serve all sets; from the first new token on, when rows of different sets may go
    different ways, each has its own. `close` ends the edits.
    """

    def __init__(self, shared: Shared, sets: Sequence[tuple[Head, ...]], prompts: int, scope: str = "all") -> None:
        super().__init__()
        self.shared, self.sets, self.prompts, self.scope = shared, sets, prompts, scope
        self.model, self.config = shared.model, shared.model.config
        self.patched = [place for place, heads in enumerate(sets) if heads]
        self._edits = ExitStack()
        self._followed = torch.arange(0)  # the caller's row that each donor row reads along with

    def get_base_model(self) -> PreTrainedModel:
        """The model that answers, as a PeftModel tells it."""
        return base_of(self.model)

    def close(self) -> None:
        """Ends the edits."""
        self._edits.close()

    @torch.no_grad()
    def forward(
        self,
        input_ids: Int64[Tensor, "row token"],
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Any,
    ) -> Any:
        self.shared.check_open()
        first, recipients = is_first(past_key_values), len(input_ids)
        if first:  # without a cache every forward is the first, and rows of different sets may differ in it
            self._begin(one_for_all=past_key_values is not None)
        rows = torch.cat([torch.arange(recipients), self._followed]).to(input_ids.device)
        with rows_as(self.shared.names(recipients, len(self._followed))):
            output = self.model(
                input_ids=input_ids[rows],
                past_key_values=past_key_values,
                attention_mask=None if attention_mask is None else attention_mask[rows],
                position_ids=position_ids if position_ids is None or len(position_ids) == 1 else position_ids[rows],
                **options,
            )
        output.logits = output.logits[:recipients]
        if first and past_key_values is not None and len(self.patched) > 1:
            self._part(past_key_values, recipients)
        return output

    def _begin(self, *, one_for_all: bool) -> None:
        """Opens the edits of the prompt (one donor row per prompt for all sets), or those of what follows it."""
        self.close()
        own, size = len(self.sets) * self.prompts, self.prompts
        edits, followed = [], torch.arange(size if self.patched else 0)
        for rank, place in enumerate(self.patched):
            start = own + (0 if one_for_all else rank * size)
            recipients = range(place * size, (place + 1) * size)
            edits.append(Patch(self.sets[place], donor=range(start, start + size), batch_rows=recipients))
        if not one_for_all:
            followed = torch.cat([torch.arange(size) + place * size for place in self.patched])
        elif len(self.patched) == 1:
            followed = torch.arange(size) + self.patched[0] * size
        self._followed = followed
        self._edits.enter_context(edit(self.model, *edits, scope=self.scope))

    def _part(self, cache: Any, recipients: int) -> None:
        """Gives each set's rows donors of their own, which start with the cache of the prompt's donors."""
        donors = torch.arange(recipients, recipients + self.prompts).repeat(len(self.patched))
        cache.batch_select_indices(torch.cat([torch.arange(recipients), donors]))
        self._begin(one_for_all=False)


def is_first(cache: Any) -> bool:
    """Whether a forward begins a sequence."""
    return cache is None or cache.get_seq_length() == 0
