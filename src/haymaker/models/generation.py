"""Greedy decoding of many prompts over a cache, in batches that change no answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, Literal, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedTokenizerBase

from haymaker.attention.canary import place_of
from haymaker.attention.generating import ON_CACHE
from haymaker.attention.hook import apart, refuse_tuples
from haymaker.console import OnProgress
from haymaker.errors import ModelError
from haymaker.kept import Codec, Kept
from haymaker.models.answer_text import STOP, AnswerText, marks_of_thought, opens_thought, read_answer
from haymaker.models.batching import batches_of, parted, refuse_long_prompts
from haymaker.models.finite import at_fault
from haymaker.models.handshake import base_of
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of, ran_out, tokens_that_fit
from haymaker.models.products import fast_products
from haymaker.models.rounding import allowed_difference, relative_norm
from haymaker.records import Encoded
from haymaker.tokens import closing_tokens

MEMORY_ADVICE = "lower tokens_at_once or batch, build shorter rows, or use a machine with more memory"
NEWEST = 16  # tokens among whose text a stop, or the mark of a thought, shows up
Reason = Literal["stop", "length"]
Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Generation:
    """What a model wrote after one prompt: all its tokens, the answer in their text, and what stood before that."""

    example_id: str
    ids: tuple[int, ...]
    text: str
    finish_reason: Reason
    before: str = ""


def read_generation(written: Mapping[str, Any]) -> Generation:
    return Generation(**{**written, "ids": tuple(written["ids"])})


GENERATIONS = Codec(asdict, read_generation)


class Decoder:
    """A batch of prompts that goes forward one token at a time, over one cache.

    Prompts of different lengths are padded on the left. `prefill` comes first, then `step` as often as wanted; several
    decoders can be stepped in turns with the same or other tokens. Their owner chooses the tokens. Raises ModelError
    for a model that does not decode so, unless that is what is asked (`proven`).
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], *, proven: bool = True) -> None:
        self.model, self.device = model, place_of(base_of(model))
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        self.ids = torch.tensor(padded, device=self.device)
        before = longest - self.lengths
        self.mask: Tensor | None = None
        if before.any():  # without padding no mask is passed, and attention takes its fast causal path
            self.mask = (torch.arange(longest, device=self.device) >= before[:, None]).long()
        self.cache = DynamicCache(config=model.config)
        vars(self.cache)[ON_CACHE] = longest  # edits ask where a prompt ends
        self.newest = torch.zeros_like(self.lengths)
        self.steps = 0
        if proven:
            prove_decoding(model, padded=self.mask is not None)

    def prefill(self) -> Float[Tensor, "batch vocabulary"]:
        """Logits of the first token after each prompt."""
        positions = None if self.mask is None else (self.mask.cumsum(1) - 1).clamp(min=0)
        return self.forward(self.ids, positions)

    def step(self, tokens: Int64[Tensor, " batch"]) -> Float[Tensor, "batch vocabulary"]:
        """Logits of the token that follows `tokens`, one for each prompt."""
        if self.mask is not None:
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        positions = (self.lengths + self.steps)[:, None]  # without them Bamba begins anew at 0
        self.steps += 1
        return self.forward(tokens[:, None], positions)

    def go_on(self, some: Sequence[int], tokens: Int64[Tensor, " some"]) -> Float[Tensor, "some vocabulary"]:
        """As `step`, for the prompts whose answers go on; the others are fed what they were fed last."""
        self.newest[list(some)] = tokens
        return self.step(self.newest)[list(some)]

    @torch.no_grad()
    def forward(self, ids: Int64[Tensor, "batch token"], positions: Tensor | None) -> Float[Tensor, "batch vocabulary"]:
        with fast_products(ids.numel()):
            return self.model(
                input_ids=ids, attention_mask=self.mask, position_ids=positions, past_key_values=self.cache,
                use_cache=True, logits_to_keep=1,
            ).logits[:, -1].float()  # fmt: skip


# ---- proof that steps over a cache are the model

_PROVEN: WeakKeyDictionary[nn.Module, set[tuple[bool, bool]]] = WeakKeyDictionary()  # padded, in training mode
SAMPLE, PADDING, STEPS = 10, 3, 3  # tokens of a prompt and its answer; before the shorter prompt; of the answer
TOLERANCE, TOLERANCE_ROUNDED = 1e-3, 5e-2  # of the logits' norm; the second below float32
BY_ONE = "let it answer one by one (batch=1, --batch 1)"
NO_ANSWERS = "no answer can be decoded with it"
TRAINING = "it is in training mode, with dropout or without a cache: call its eval() first"


@torch.no_grad()
def prove_decoding(model: Any, *, padded: bool) -> None:
    """Raise ModelError where steps over a cache give other logits than whole sequences, or where rows behind padding
    give other ones than rows alone (`padded`): some models take neither cache nor positions. Once for each model."""
    base = base_of(model)
    known, asked = _PROVEN.setdefault(base, set()), (padded, base.training)
    refuse_tuples(base)
    if asked in known:
        return
    if padded:
        prove_decoding(model, padded=False)
    with apart():
        expected = whole(base, padded)
        if not expected.isfinite().all():
            return  # which is told where a token is chosen
        difference = relative_norm(stepwise(base, padded), expected)
        allowed = TOLERANCE
        if rounds(base):
            allowed = allowed_difference(difference, TOLERANCE_ROUNDED, base, lambda: whole(base, padded))
    if not difference <= allowed:
        what = "prompts that are padded to one length" if padded else "tokens that are read one by one, over a cache,"
        raise ModelError(
            f"{type(base).__name__}: {what} give other logits than whole sequences, off by {difference:.2g} of their "
            f"norm with {allowed:.2g} allowed on {SAMPLE} tokens; {advice_for(base, padded)}"
        )
    known.add(asked)


def advice_for(base: Any, padded: bool) -> str:
    return TRAINING if base.training else BY_ONE if padded else NO_ANSWERS


def rounds(base: Any) -> bool:
    """Whether some of the model's products are of less than float32: by its weights, autocast or TF32."""
    weights = (weight.dtype for weight in base.parameters() if weight.is_floating_point())
    return (
        any(torch.finfo(kind).eps > 1e-6 for kind in weights)
        or getattr(base, "hf_quantizer", None) is not None
        or torch.is_autocast_enabled(place_of(base).type)
        or torch.get_float32_matmul_precision() != "highest"
    )


def sample_rows(base: Any, padded: bool) -> list[list[int]]:
    """Two rows, the second shorter where it shall be padded, of tokens that mean nothing in particular."""
    config = base.config.get_text_config()
    named = [value for name, value in config.to_dict().items() if "token_i" in name]  # token_id, token_index: special
    special = {number for value in named for number in (value if isinstance(value, list) else [value])}
    plain = [number for number in range(min(config.vocab_size, 10_000)) if number not in special]
    ids = [plain[(7 * i + 3) % len(plain)] for i in range(2 * SAMPLE)]
    return [ids[:SAMPLE], ids[SAMPLE + PADDING * padded :]]


def stepwise(base: Any, padded: bool) -> Float[Tensor, "row step vocabulary"]:
    """Logits of the tokens behind each row's prompt, read one by one."""
    rows = sample_rows(base, padded)
    try:
        decoder = Decoder(base, [row[:-STEPS] for row in rows], proven=False)
        answers = torch.tensor([row[-STEPS:] for row in rows], device=decoder.device)
        return torch.stack([decoder.prefill(), *map(decoder.step, answers.T)], dim=1)
    except Exception as error:  # whatever such a model makes of a cache, or of padding
        if ran_out(error):
            raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        advice = advice_for(base, padded)
        raise ModelError(f"{type(base).__name__}: fails where it decodes ({said}); {advice}") from error


def whole(base: Any, padded: bool) -> Float[Tensor, "row step vocabulary"]:
    """The same from a forward of each row by itself."""
    device = place_of(base)
    rows = [torch.tensor([row], device=device) for row in sample_rows(base, padded)]
    return torch.cat([base(input_ids=row, use_cache=False).logits[:, -1 - STEPS :].float() for row in rows])


# ---- the greedy loop, and where an answer ends


def greedy(
    first: Float[Tensor, "answer vocabulary"],
    go_on: Callable[[list[int], Tensor], Tensor],
    rules: Sequence[Mapping[Name, Callable[[list[int]], Any]]],
    model: nn.Module,
) -> tuple[list[list[int]], list[dict[Name, int]]]:
    """The most probable token, again and again, until every rule of every answer holds.

    first: logits of each answer's first token. go_on(which answers, their newest tokens) gives the logits of the next
    tokens of those that are not over. A rule says of an answer's tokens whether it is over; an answer may have several.
    model: whose logits they are, for the error where they are not finite.
    Returns the tokens of each answer, and by rule how many there were when it first held.
    """
    written: list[list[int]] = [[] for _ in rules]
    lengths: list[dict[Name, int]] = [{} for _ in rules]
    going, logits = list(range(len(rules))), first
    while going:
        if not logits.isfinite().all():
            raise ModelError(f"the model's logits are not finite, so no token can be chosen, {at_fault(model)}")
        tokens = logits.argmax(dim=-1)
        for i, token in zip(going, tokens.tolist(), strict=True):
            written[i].append(token)
            due = {name: over for name, over in rules[i].items() if name not in lengths[i]}
            lengths[i] |= {name: len(written[i]) for name, over in due.items() if over(written[i])}
        kept = [place for place, i in enumerate(going) if len(lengths[i]) < len(rules[i])]
        going = [going[place] for place in kept]
        if going:
            logits = go_on(going, tokens[kept])
    return written, lengths


@dataclass(frozen=True, eq=False)
class AnswerEnd:
    """The rule that ends an answer: an end-of-text token, `stop` after text (answer_text.py), or `room` tokens."""

    lm: LanguageModel
    room: int
    stop: str | None = STOP
    in_thought: bool = False  # the prompt has opened a block of thought

    @cached_property
    def tokens(self) -> set[int]:
        """Tokens that end an answer: the tokenizer's, the chat template's, and those of the generation config."""
        told: Any = getattr(self.lm.base.generation_config, "eos_token_id", None)
        configured = told if isinstance(told, list) else [] if told is None else [told]
        if any(type(token) is not int for token in configured):
            raise ModelError(
                f"{self.lm.name}: its generation config says eos_token_id {told!r:.60}, and no numbers of tokens; mend "
                "its generation_config.json, or its config.json where there is none"
            )
        own = cast(Any, self.lm.tokenizer).eos_token_id
        return {*configured, *closing_tokens(self.lm.tokenizer), *([] if own is None else [int(own)])}

    @cached_property
    def hidden(self) -> set[int] | None:
        """Special tokens that are no part of a text, where marks of a thought are special too; else None."""
        tokenizer: Any = self.lm.tokenizer
        special = set(tokenizer.all_special_ids)
        names = {name: number for name, number in tokenizer.get_added_vocab().items() if number in special}
        marks = {names[name] for name in marks_of_thought(names)}
        return special - marks if marks else None

    def __call__(self, written: Sequence[int]) -> Reason | None:
        """Why an answer ends with its last token; None where it goes on."""
        if written[-1] in self.tokens or self.stopped(written):
            return "stop"
        return "length" if len(written) >= self.room else None

    def stopped(self, written: Sequence[int]) -> bool:
        # Only where the newest tokens bring the stop is the whole text worth reading.
        if not self.stop or self.stop[-1] not in self.shown(written[-NEWEST:]):
            return False
        return self.read(written).stopped

    def shown(self, written: Sequence[int]) -> str:
        """What the tokens say, without special ones."""
        if self.hidden is None:
            return decoded(self.lm.tokenizer, written)
        kept = [token for token in written if token not in self.hidden]
        return str(self.lm.tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    def read(self, written: Sequence[int]) -> AnswerText:
        """The answer, and what stands before it."""
        return read_answer(self.shown(written), self.stop, self.in_thought)

    def text(self, written: Sequence[int]) -> str:
        """The answer, stripped: behind thoughts and opening lines, before the stop."""
        return self.read(written).text

    def generation(self, example_id: str, written: Sequence[int]) -> Generation:
        """The answer of these tokens, which is over."""
        reason, found = self(written), self.read(written)
        assert reason is not None
        return Generation(example_id, tuple(written), found.text, reason, found.before)


def end_of(
    lm: LanguageModel, row: Encoded, new_tokens: int, stop: str | None = STOP, beyond_context: bool = False
) -> AnswerEnd:
    """The end of the answer to a row's prompt."""
    room = new_tokens if beyond_context else min(new_tokens, lm.context - row.prompt_length)
    last = lm.tokenizer.decode(list(row.prompt_ids[-NEWEST:]), clean_up_tokenization_spaces=False)
    return AnswerEnd(lm, room, stop, opens_thought(str(last)))


def answers(
    first: Float[Tensor, "answer vocabulary"],
    go_on: Callable[[list[int], Tensor], Tensor],
    ends: Sequence[AnswerEnd],
    example_ids: Sequence[str],
) -> list[Generation]:
    """Greedy answers, each until its own end."""
    if not ends:
        return []
    written, _ = greedy(first, go_on, [{"answer": end} for end in ends], ends[0].lm.model)
    return [end.generation(name, ids) for end, name, ids in zip(ends, example_ids, written, strict=True)]


def generate(
    lm: LanguageModel,
    rows: Sequence[Encoded],
    max_new_tokens: int = 32,
    stop: str | None = STOP,
    tokens_at_once: int | None = None,
    *,
    batch: int | None = None,
    beyond_context: bool = False,
    on_progress: OnProgress | None = None,
    kept: Kept[Generation] | None = None,
) -> list[Generation]:
    """The greedy answer to each row's prompt, in the rows' order.

    A row ends with "stop" at the end-of-text token or at `stop` after text, with "length" after `max_new_tokens` or at
    the end of the context. `tokens_at_once` bounds the prompt tokens of a batch (None: as many as `kept` says, else as
    the free memory holds), `batch` its rows. `on_progress` is told how many rows were finished since it was last
    called. Answers go into `kept`, and come from it. Raises LengthError for prompts that do not fit the context, unless
    `beyond_context` asks what happens there.
    """
    if not beyond_context:
        refuse_long_prompts(rows, lm.context)
    found: dict[int, Generation] = {}
    end = partial(end_of, lm, new_tokens=max_new_tokens, stop=stop, beyond_context=beyond_context)
    kept, lengths = kept or Kept(), [row.prompt_length for row in rows]
    room = tokens_at_once or kept.room or tokens_that_fit(lm.model, lengths or [1], max_new_tokens)
    for group in batches_of(lengths, room, batch, masked=True):
        compute = partial(decode_whole, lm, [rows[i] for i in group], end)
        found |= zip(group, kept.batch([(i,) for i in group], compute, divisible=len(group) > 1), strict=True)
        if on_progress is not None:
            on_progress(len(group))
    return [found[i] for i in range(len(rows))]


def decode_whole(
    lm: LanguageModel, rows: Sequence[Encoded], end: Callable[[Encoded], AnswerEnd], parts: int
) -> list[Generation]:
    """Greedy answers to a batch of prompts in so many parts, each until its own end. Raises OutOfMemory where a part
    does not fit."""
    found = []
    for some in parted(rows, parts):
        with memory_of([row.example_id for row in some], MEMORY_ADVICE):
            found += decode_group(lm, some, [end(row) for row in some])
    return found


def decode_group(lm: LanguageModel, rows: Sequence[Encoded], ends: Sequence[AnswerEnd]) -> list[Generation]:
    """Greedy answers to a batch of prompts."""
    decoder = Decoder(lm.model, [row.prompt_ids for row in rows])
    return answers(decoder.prefill(), decoder.go_on, ends, [row.example_id for row in rows])


def decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
