"""What a task gives to a build. A draft knows its pieces and their order of preference, never its length in tokens."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

from haymaker.choices import PROMPTS
from haymaker.config import Recipe
from haymaker.errors import ConfigError
from haymaker.records import Kind, Label, Segment, label_runs, target_of

DocumentRole = Literal["gold", "competitor", "passage"]
Alternatives = tuple["Document", ...]  # one document in several wordings, the preferred one first


@dataclass(frozen=True)
class Document:
    """One document before it has a number. `key` says what it is, stable over rows and runs."""

    key: str
    segments: tuple[Segment, ...]
    role: DocumentRole = "passage"
    title: str = ""
    kind: str = ""  # documents of one kind take about as many tokens a character: a few of them tell it of all
    host: str = ""  # a text that many documents are made from, and what was put into it here, to plan a length by
    inserted: str = ""
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = self.segments[0].text if len(self.segments) == 1 else "".join(piece.text for piece in self.segments)
        object.__setattr__(self, "text", text)

    @property
    def marks(self) -> tuple[tuple[Label, int, int], ...]:
        """Labels of the text and where in it they stand (characters). Index -1 stands for the document's number."""
        if len(self.segments) == 1:  # most documents by far
            return tuple((label, 0, len(self.text)) for label in self.segments[0].labels)
        return tuple((label, span.start, span.stop) for label, span in label_runs(self.segments))


@dataclass(frozen=True)
class Draft:
    """One question with all that may stand around it.

    `gold` documents must stand in the row; of the `competitors` as many as fit, in order, at least
    `least_competitors`; then documents of `further` up to the length. `facts` is what twins share.
    """

    question: str
    answers: tuple[str, ...]
    gold: tuple[Alternatives, ...]
    competitors: tuple[Alternatives, ...]
    further: Callable[[], Iterator[Document]]
    facts: Any
    closers: Callable[[], Iterator[Document]] | None = None  # to choose the last ones from; None: what comes next
    fine: Callable[[], Iterator[Document]] | None = None  # a few in sizes between the others', to fill to the token
    least_competitors: int = 0
    ranked: bool = False  # competitors are further documents too: the first ones, in this order
    trim: bool = False  # the last further document may be cut at a word to fill the length
    cites: bool = False  # the answer is the gold documents' numbers, "[2][5]", known when they are placed
    concept: str = ""
    context: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    provenance: tuple[dict[str, Any], ...] = ()

    @property
    def target(self) -> str:
        """The answer that the row will teach."""
        return target_of(self.answers, self.source)


@dataclass(frozen=True)
class Style:
    """How documents and question become a prompt.

    `document` holds {text}, and {number} and {title} before it where the prompt shows them; `tail` holds {question}.
    """

    name: str
    document: str
    tail: str
    head: str = ""
    joiner: str = "\n"
    number_kinds: tuple[Kind, ...] = ()  # labels of a gold document's number

    @cached_property
    def around_text(self) -> tuple[str, str]:
        before, after = self.document.split("{text}")
        return before, after

    @cached_property
    def shows_numbers(self) -> bool:
        return "{number}" in self.document

    def around(self, title: str, number: int) -> tuple[str, str]:
        """What stands before and after a document's text."""
        before, after = self.around_text
        return before.replace("{number}", str(number)).replace("{title}", title), after

    def number_place(self, number: int) -> tuple[int, int]:
        """Where the number stands in the document, and how long it is; (0, 0) where the style shows none."""
        before, shown, _ = self.document.partition("{number}")
        return (len(before), len(str(number))) if shown else (0, 0)

    def tail_around(self, question: str) -> tuple[str, str]:
        """What stands before and after the question."""
        before, _, after = self.tail.partition("{question}")
        return before, after


class Rejected(dict[str, int]):
    """How many rows of a source are of no use, by reason; `rows` says which: their places, and own ids."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[str]] = {}

    def add(self, reason: str, row: str) -> None:
        self[reason] = self.get(reason, 0) + 1
        self.rows.setdefault(reason, []).append(row)

    def with_others(self, others: "Rejected") -> "Rejected":
        both = Rejected()
        for one in (self, others):
            for reason, rows in one.rows.items():
                for row in rows:
                    both.add(reason, row)
        return both


@dataclass(frozen=True)
class Drafts:
    """All drafts of a recipe: row k is a pure function of the recipe and k. `count=None` is endless."""

    draft: Callable[[int], Draft]
    style: Style
    count: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)  # file -> sha256
    rejected: Mapping[str, int] = field(default_factory=dict)  # reason -> rows


@runtime_checkable
class Task(Protocol):
    """A module that reads real rows, writes synthetic ones, and names the metrics that judge an answer, headline first.

    It may also have `ANSWER_ROOM`, the tokens that an answer may take where a recipe does not say, `golds(example)`,
    what its metrics compare with where that is not the example's answers, and `asked(recipe)`, what a writer is asked
    for.
    """

    METRICS: tuple[str, ...]

    def drafts(self, recipe: Recipe) -> Drafts: ...


def style_of(recipe: Recipe, default: str) -> Style:
    """The recipe's prompt style, else the task's of that name; ConfigError names those there are."""
    name = recipe.prompt or default
    own = [style.removeprefix(f"{recipe.task}.") for style in PROMPTS if style.startswith(f"{recipe.task}.")]
    if name not in own:
        raise ConfigError(f"prompt: {recipe.task} has no style {name!r}; there are {', '.join(own)}")
    return PROMPTS[f"{recipe.task}.{name}"]
