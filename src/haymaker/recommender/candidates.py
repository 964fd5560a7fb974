"""What is given as a candidate, its rows for a probe, and what it costs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from haymaker.choices import axes_of
from haymaker.config import Recipe
from haymaker.console import note
from haymaker.data.builder import build
from haymaker.data.own_data import load_data, read_examples
from haymaker.errors import ConfigError, LengthError
from haymaker.models.budget import room_of
from haymaker.models.load import LanguageModel
from haymaker.provenance import tell_other_tokenizer
from haymaker.recommender.names import check_names
from haymaker.records import Encoded, Example
from haymaker.tasks.given_rows import is_table
from haymaker.tokens import encode_many

SHOWN = 3  # rows that a sentence names
Source = str | Path | Recipe | Iterable[Any]  # Examples, or rows of one's own


@dataclass(frozen=True)
class Candidate:
    """Rows of one candidate, as many as a probe needs.

    `build_seconds` and `writer_tokens` are of one row: 0 of rows that exist already. A writer writes the evidence of
    the high concept.
    """

    name: str
    examples: tuple[Example, ...]
    encoded: tuple[Encoded, ...]
    build_seconds: float
    writer_tokens: float

    @property
    def tokens(self) -> float:
        """Mean length of a row."""
        return sum(map(len, self.encoded)) / len(self.encoded)


def named(candidates: Mapping[str, Source] | Sequence[Source]) -> dict[str, Source]:
    """Candidates by name: their own, else that of a file or folder, or a recipe's setting.

    Raises ConfigError for fewer than two, and for a name that stands twice or means another row of the ranking.
    """
    if isinstance(candidates, Mapping):
        found = dict(candidates)
    else:
        names = [name_of(source, place) for place, source in enumerate(candidates)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"candidates: {', '.join(twice)} stands more than once; give a mapping of names")
        found = dict(zip(names, candidates, strict=True))
    check_names(found)
    if len(found) < 2:
        raise ConfigError(f"candidates: expected at least 2 to rank, found {len(found)}")
    return found


def name_of(source: Source, place: int) -> str:
    if isinstance(source, Recipe):
        return str(source.setting)
    return Path(source).stem if isinstance(source, str | Path) else f"candidate {place + 1}"


class Given(NamedTuple):
    """The first rows of a source, the seconds in which one of them was built, and the room that they leave answers."""

    rows: list[Example]
    seconds: float
    room: int | None


def examples_of(source: Source, lm: LanguageModel, rows: int) -> Given:
    """The first rows of a source."""
    if isinstance(source, Recipe):
        build(source.changed(rows=1), lm.tokenizer)  # the first row reads the source, which is paid once
        began = time.perf_counter()
        made = build(source.changed(rows=min(rows, source.rows)), lm.tokenizer)
        return Given(list(made), (time.perf_counter() - began) / len(made), room_of(made))
    given = load_data(source) if isinstance(source, str | Path) else source
    tell_other_tokenizer(given, lm)
    return Given(list(rows_given(given))[:rows], 0.0, room_of(given))


def check_lengths(lm: LanguageModel, sets: Mapping[str, Sequence[Encoded]]) -> None:
    """LengthError that names every candidate with rows beyond the model's context, before any probe is trained."""
    told, needed = [], 0
    for name, items in sets.items():
        if beyond := sorted((item for item in items if len(item) > lm.context), key=len, reverse=True):
            needed = max(needed, len(beyond[0]))
            longest = ", ".join(f"{item.example_id} of {len(item):,}" for item in beyond[:SHOWN])
            told.append(f"{name}: {len(beyond)} of {len(items)} rows ({longest})")
    if told:
        raise LengthError(
            f"{lm.name} reads {lm.context:,} tokens, and rows have more: {'; '.join(told)}; leave them out, or extend "
            f"the model to {needed:,} tokens (--extend {needed}, hm.Extend(length={needed}))"
        )


def tell_shared(read: Sequence[Candidate], held: Sequence[Example]) -> None:
    """Say which candidates teach answers to the very questions on which all probes are read."""
    asked = {(row.question, row.target) for row in held}
    for one in read:
        if shared := sum((row.question, row.target) in asked for row in one.examples):
            note(f"candidate {one.name}: {shared} of {len(one.examples)} rows teach answers to the real rows that "
                 "probes are read on, so it ranks too high; leave them out", style="yellow")  # fmt: skip


def rows_given(source: Any) -> list[Example]:
    """Examples as they are; other rows, and frames of them, as `read_examples` reads them."""
    if is_table(source):  # a frame is iterated by its columns
        return list(read_examples(source))
    rows = list(source)
    return rows if all(isinstance(row, Example) for row in rows) else list(read_examples(rows))


def opened(name: str, source: Source, lm: LanguageModel, rows: int) -> Candidate:
    """A candidate's rows. Raises ConfigError where there are none."""
    examples, seconds, _ = examples_of(source, lm, rows)
    if not examples:
        raise ConfigError(f"candidate {name}: holds no rows")
    encoded = encode_many(examples, lm.tokenizer)
    concept = axes_of(source.setting).concept if isinstance(source, Recipe) else None
    written = sum(span.stop - span.start for item in encoded for span in item.spans.get("evidence", []))
    return Candidate(
        name, tuple(examples), tuple(encoded), seconds, written / len(encoded) if concept == "high" else 0.0
    )
