"""What some heads read while each token of an answer was produced: one example, for a notebook or a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from haymaker.attention.hook import decoder_of
from haymaker.attention.probing import probe
from haymaker.attention.targets import HeadLike, as_heads
from haymaker.errors import ConfigError
from haymaker.files import write_text
from haymaker.heads.detection import detect_heads
from haymaker.heads.origins import tell_other_origin
from haymaker.heads.own_choice import map_shape
from haymaker.heads.passes import answer_tokens
from haymaker.heads.scores import HeadScores
from haymaker.markup import CELL, shortened
from haymaker.models.batching import refuse_long_rows
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.records import Example, Head, Span
from haymaker.tokens import Aligner, encode

if TYPE_CHECKING:
    import pandas

SHOWN_HEADS = 5
LEAST_SHOWN = 0.02  # of attention: what is shaded
AROUND = 60  # characters of text around what was read
READ = "rgba(225, 110, 40, {:.2f})"
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    '<title>{}</title><body style="margin: 2em">{}</body></html>'
)


@dataclass(frozen=True)
class Reading:
    """A token that a head read while an answer's token was produced."""

    step: int  # which token of the answer, from 0
    answer_token: str
    head: Head
    rank: int  # 0: the token it read most
    position: int  # token of the prompt and answer
    token: str
    weight: float  # attention, 0 to 1
    kind: str  # of the innermost span that the token stands in


@dataclass(frozen=True, repr=False)
class AttentionView:
    """What chosen heads read of one example, answer token by answer token.

    Attributes:
        example: The example.
        heads: The heads, in the order they were chosen.
        readings: Every token that one of them read, most first for each head and answer token.
        text: The prompt as the model read it, template included.
        places: Characters of `text` that each token of the prompt holds.
    """

    example: Example
    heads: tuple[Head, ...]
    readings: tuple[Reading, ...]
    text: str
    places: tuple[tuple[int, int], ...]

    def __repr__(self) -> str:
        steps = len({reading.step for reading in self.readings})
        return f"AttentionView({self.example.id}: {steps} answer tokens, heads {', '.join(map(str, self.heads))})"

    def rows(self) -> list[dict[str, Any]]:
        """A flat row for every reading."""
        return [{**vars(reading), "head": str(reading.head)} for reading in self.readings]

    def to_pandas(self) -> "pandas.DataFrame":
        """`rows` as a pandas frame."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    def save(self, path: str | Path) -> Path:
        """Write a page (.html) that needs no network. Raises ConfigError for another ending."""
        path = Path(path)
        if path.suffix.lower() != ".html":
            raise ConfigError(f"{path}: expected a name that ends in .html, found {path.suffix!r}")
        write_text(path, self.page())
        return path

    def page(self) -> str:
        """The page that `save` writes, in its reader's light or dark."""
        return PAGE.format(escape(self.example.id), self._repr_html_())

    def _repr_html_(self) -> str:
        heads = ", ".join(map(str, self.heads))
        said = f"<p><b>{escape(shortened(self.example.question))}</b> {escape(self.example.target)}</p>"
        note = (
            f"<p>What heads {heads} read while each token of the answer was produced, in stronger colours the more.</p>"
        )
        return (
            f'<div style="font: 13px/1.6 sans-serif; max-width: 64em">{said}{self._grid()}{note}{self._prompt()}</div>'
        )

    def _grid(self) -> str:
        """A row per answer token, a column per head: the token that it read most."""
        best = {(one.step, one.head): one for one in self.readings if one.rank == 0}
        head = "".join(f'<th style="{CELL}">{name}</th>' for name in ("answer", *self.heads))
        rows = ""
        for step in sorted({step for step, _ in best}):
            cells = "".join(read_cell(best.get((step, one))) for one in self.heads)
            token = next(one.answer_token for (at, _), one in best.items() if at == step)
            rows += f'<tr><td style="{CELL}"><code>{escape(repr(token)[1:-1])}</code></td>{cells}</tr>'
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _prompt(self) -> str:
        """The prompt with what was read shaded; evidence is underlined, and what nobody read is cut short."""
        weights: dict[int, float] = {}
        for one in self.readings:
            if one.position < len(self.places) and one.weight >= LEAST_SHOWN:
                weights[one.position] = max(one.weight, weights.get(one.position, 0.0))
        parts, at = [], 0
        for position in sorted(weights, key=lambda position: self.places[position]):
            start, stop = self.places[position]
            if stop <= start or start < at:
                continue
            parts.append(escape(shortened(self.text[at:start], 2 * AROUND)))
            shade = READ.format(0.15 + 0.85 * weights[position])
            hint = f"read with {weights[position]:.2f}"
            parts.append(f'<span style="background: {shade}" title="{hint}">{escape(self.text[start:stop])}</span>')
            at = stop
        parts.append(escape(shortened(self.text[at:], 2 * AROUND)))
        return f'<div style="white-space: pre-wrap">{"".join(parts)}</div>'


def read_cell(reading: Reading | None) -> str:
    """The token that a head read most, its weight, and what it stands in; in bold where it is the one produced."""
    if reading is None:
        return f'<td style="{CELL}"></td>'
    copied = reading.token.strip() == reading.answer_token.strip()
    name = f"<b>{escape(reading.token)}</b>" if copied else escape(reading.token)
    shade = READ.format(reading.weight * 0.8)
    return f'<td style="{CELL}; background: {shade}">{name} {reading.weight:.2f} <i>{reading.kind}</i></td>'


def show_example(
    lm: LanguageModel, example: Example, heads: Iterable[HeadLike] | HeadScores | None = None, topk: int = 16
) -> AttentionView:
    """Which tokens some heads read while each token of the gold answer was produced, teacher-forced.

    Args:
        lm: The model.
        example: The example.
        heads: Heads as `Head`, pairs (layer, head) or "16-19"; "18-6,17-3"; scores, whose five best are taken; None:
            the five that copy most of the answer.
        topk: How many of the most read tokens to keep, of each head and answer token.

    Returns:
        An AttentionView: a notebook shows it, `save("view.html")` keeps it, `rows()` and `to_pandas()` give numbers.

    Raises:
        ConfigError: No head, or a head that is none.
        LengthError: An example longer than the model's context.
        ProbeError: A model that cannot be read, or a head that it does not have.
        OutOfMemory: An example that does not fit the machine.

    Examples:
        >>> view = hm.show_example(lm, rows[0], heads=["3-6"])
        >>> saved = view.save("view.html")
        >>> view.readings[0].head, 0 < view.readings[0].weight <= 1
        (Head(layer=3, head=6), True)
    """
    chosen = heads_of(lm, example, heads)
    aligner = Aligner(lm.tokenizer)
    encoded = encode(example, lm.tokenizer)
    refuse_long_rows([encoded], lm.context)
    steps = answer_tokens(encoded, lm.tokenizer)
    kept = min(topk, encoded.prompt_length)
    rows = list(encoded.answer_rows)[:steps]
    ids = torch.tensor([encoded.input_ids], device=lm.device)
    layers = {head.layer for head in chosen}
    with (
        memory_of([example.id], "take a shorter example"),
        probe(lm.model, rows, topk=kept, layers=layers) as seen,
        torch.no_grad(),
    ):
        lm.model(input_ids=ids, use_cache=False, logits_to_keep=1)
    prompt = aligner.render(example)
    places = aligner.tokenise([prompt])[0].offsets.tolist()
    names = [str(lm.tokenizer.decode([token])) for token in encoded.input_ids]
    kinds = kinds_of(encoded.labelled_spans, len(encoded))
    readings = [
        Reading(step, names[rows[step] + 1], head, rank, position, names[position], weight, kinds[position])
        for step in range(steps)
        for head in chosen
        for rank, (position, weight) in enumerate(read_by(seen, head, step))
    ]
    return AttentionView(example, chosen, tuple(readings), prompt.text, tuple((a, b) for a, b in places))


def heads_of(lm: LanguageModel, example: Example, heads: Iterable[HeadLike] | HeadScores | None) -> tuple[Head, ...]:
    """The chosen heads, each once."""
    if heads is None:
        heads = detect_heads(lm, [example], "copy_anywhere")
    if isinstance(heads, HeadScores):
        tell_other_origin(heads, lm, "head scores")
        heads = heads.ranked()[:SHOWN_HEADS]
    chosen = as_heads(heads)
    if not chosen:
        raise ConfigError("heads: expected at least one head, found none; give heads, or None for those that copy")
    check_heads(lm, chosen)
    return chosen


def check_heads(lm: LanguageModel, heads: Sequence[Head]) -> None:
    shape = map_shape(decoder_of(lm.model).config)
    unknown = [str(head) for head in heads if head.layer >= shape[0] or head.head >= shape[1]]
    if unknown:
        raise ConfigError(f"heads: {lm.name} has {shape[0]} layers of {shape[1]} heads, and no {', '.join(unknown)}")


def read_by(seen: Any, head: Head, step: int) -> list[tuple[int, float]]:
    """Positions and weights that a head read most at a step."""
    positions = seen.top_position[head.layer, 0, head.head, step].tolist()
    weights = seen.top_probability[head.layer, 0, head.head, step].tolist()
    return [(at, weight) for at, weight in zip(positions, weights, strict=True) if at >= 0 and weight > 0]


def kinds_of(labelled: Sequence[tuple[Any, Span]], tokens: int) -> list[str]:
    """Of every token the kind of the shortest span that holds it, empty where none does."""
    kinds = [""] * tokens
    for label, span in sorted(labelled, key=lambda one: -len(one[1])):
        kinds[span.slice] = [label.kind] * len(span)
    return kinds
