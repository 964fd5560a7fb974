"""Greedy decoding of many prompts over a cache, in batches that change no answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from haymaker.errors import LengthError, ModelError
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.records import Encoded

TOKENS_AT_ONCE = 16_384  # prompt tokens of a batch
MEMORY_ADVICE = "lower tokens_at_once, build shorter rows, or use a machine with more memory"
MAX_PADDED_SHARE = 1 / 16  # a prompt joins longer ones only if at most this share of it is padding


@dataclass(frozen=True)
class Generation:
    """What a model wrote after one prompt: all its tokens, and their text up to the stop, stripped."""

    example_id: str
    ids: tuple[int, ...]
    text: str
    finish_reason: Literal["stop", "length"]


class Decoder:
    """A batch of prompts that goes forward one token at a time, over one cache.

    Prompts of different lengths are padded on the left. `prefill` comes first, then `step` as often as wanted; several
    decoders can be stepped in turns with the same or other tokens. Their owner chooses the tokens.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        parameter = next(model.parameters())
        self.model, self.device = model, parameter.device
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        self.ids = torch.tensor(padded, device=self.device)
        before = longest - self.lengths
        self.mask: Tensor | None = None
        if before.any():  # without padding no mask is passed, and attention takes its fast causal path
            self.mask = (torch.arange(longest, device=self.device) >= before[:, None]).long()
        self.cache = DynamicCache(config=model.config)
        self.steps = 0

    def prefill(self) -> Float[Tensor, "batch vocabulary"]:
        """Logits of the first token after each prompt."""
        positions = None if self.mask is None else (self.mask.cumsum(1) - 1).clamp(min=0)
        return self.forward(self.ids, positions)

    def step(self, tokens: Int64[Tensor, " batch"]) -> Float[Tensor, "batch vocabulary"]:
        """Logits of the token that follows `tokens`, one for each prompt."""
        positions = None
        if self.mask is not None:
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
            positions = (self.lengths + self.steps)[:, None]
        self.steps += 1
        return self.forward(tokens[:, None], positions)

    @torch.no_grad()
    def forward(self, ids: Int64[Tensor, "batch token"], positions: Tensor | None) -> Float[Tensor, "batch vocabulary"]:
        output = self.model(
            input_ids=ids, attention_mask=self.mask, position_ids=positions, past_key_values=self.cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        logits = output.logits[:, -1]
        if not logits.isfinite().all():
            raise ModelError("the model's logits are not finite, so no token can be chosen; load it with dtype float32")
        return logits


def generate(
    lm: LanguageModel,
    rows: Sequence[Encoded],
    max_new_tokens: int = 32,
    stop: str | None = "\n",
    tokens_at_once: int = TOKENS_AT_ONCE,
    beyond_context: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """The greedy answer to each row's prompt, in the rows' order.

    A row ends with "stop" at the end-of-text token or where its text holds `stop`, with "length" after `max_new_tokens`
    or at the end of the context. `tokens_at_once` bounds the prompt tokens of a batch. `progress` is told how many rows
    were finished since it was last called. Raises LengthError for prompts that do not fit the context, unless
    `beyond_context` asks what happens there.
    """
    if not beyond_context:
        refuse_long(rows, lm.context)
    found: dict[int, Generation] = {}
    for group in groups(rows, tokens_at_once):
        left = [max_new_tokens if beyond_context else lm.context - rows[i].prompt_length for i in group]
        room = [min(max_new_tokens, tokens) for tokens in left]
        with memory_of([rows[i].example_id for i in group], MEMORY_ADVICE):
            done = decode_group(lm, [rows[i] for i in group], room, stop)
        found |= zip(group, done, strict=True)
        if progress is not None:
            progress(len(group))
    return [found[i] for i in range(len(rows))]


def refuse_long(rows: Sequence[Encoded], context: int) -> None:
    if long := [row for row in rows if row.prompt_length >= context]:
        named = ", ".join(f"{row.example_id} ({row.prompt_length})" for row in long[:5])
        raise LengthError(
            f"{len(long)} of {len(rows)} prompts leave no room to answer in the context of {context} tokens: {named}; "
            "build shorter rows or extend the model further"
        )


def groups(rows: Sequence[Encoded], tokens_at_once: int) -> Iterator[list[int]]:
    """Indices of rows that are decoded together: prompts of about equal length, longest first."""
    group: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: (-rows[i].prompt_length, i)):
        longest = rows[group[0]].prompt_length if group else 0
        full = (len(group) + 1) * longest > tokens_at_once
        if group and (full or rows[i].prompt_length < (1 - MAX_PADDED_SHARE) * longest):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def decode_group(lm: LanguageModel, rows: Sequence[Encoded], room: Sequence[int], stop: str | None) -> list[Generation]:
    """Greedy answers of a batch, of at most `room` tokens each."""
    ends = end_tokens(lm)
    written: list[list[int]] = [[] for _ in rows]
    done: dict[int, Generation] = {}
    decoder = Decoder(lm.model, [row.prompt_ids for row in rows])
    logits = decoder.prefill()
    while True:
        tokens = logits.argmax(dim=-1)
        for i, token in enumerate(tokens.tolist()):
            if i not in done:
                written[i].append(token)
                if reason := finish_reason(lm.tokenizer, written[i], ends, stop, room[i]):
                    text = text_before(lm.tokenizer, written[i], stop)
                    done[i] = Generation(rows[i].example_id, tuple(written[i]), text, reason)
        if len(done) == len(rows):
            return [done[i] for i in range(len(rows))]
        logits = decoder.step(tokens)


def end_tokens(lm: LanguageModel) -> set[int]:
    """Tokens that end an answer: the tokenizer's, and those that the model's generation config adds."""
    configured: Any = getattr(lm.base.generation_config, "eos_token_id", None)
    extra = configured if isinstance(configured, list) else [configured]
    return {int(token) for token in (cast(Any, lm.tokenizer).eos_token_id, *extra) if token is not None}


def finish_reason(
    tokenizer: PreTrainedTokenizerBase, written: Sequence[int], ends: set[int], stop: str | None, room: int
) -> Literal["stop", "length"] | None:
    """Why an answer ends with its last token; None where it goes on."""
    if written[-1] in ends or (stop is not None and stop in decoded(tokenizer, written)):
        return "stop"
    return "length" if len(written) >= room else None


def text_before(tokenizer: PreTrainedTokenizerBase, written: Sequence[int], stop: str | None) -> str:
    text = decoded(tokenizer, written)
    return (text if stop is None else text.partition(stop)[0]).strip()


def decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
