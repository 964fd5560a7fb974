"""What objects show of themselves in a notebook: text with its spans in colour, and rows as a table. Pure, no styles
of the page: colours are translucent, so that they stand on light and on dark."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas

COLOURS = {  # of a kind of label, behind its text
    "evidence": "rgba(240, 190, 40, .45)",
    "answer": "rgba(70, 180, 90, .6)",
    "question": "rgba(70, 150, 220, .35)",
    "citation": "rgba(180, 90, 200, .4)",
    "instruction": "rgba(128, 128, 128, .25)",
}
LONGEST_PLAIN = 400  # characters of text without a colour; what is longer is cut out of its middle
BOX = "white-space: pre-wrap; font: 13px/1.5 sans-serif; max-width: 60em"
CELL = "padding: .1em .7em; text-align: left; vertical-align: top"


def coloured(pieces: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Text as HTML, each piece in the colour of the innermost of its kinds that has one."""
    parts: list[tuple[str, str | None]] = []
    for text, kinds in pieces:
        kind = next((kind for kind in reversed(kinds) if kind in COLOURS), None)
        if parts and parts[-1][1] == kind:
            text = parts.pop()[0] + text
        parts.append((text, kind))
    body = "".join(escape(shortened(text)) if kind is None else mark(text, kind) for text, kind in parts)
    return f'<div style="{BOX}">{body}</div>'


def mark(text: str, kind: str) -> str:
    return f'<span style="background: {COLOURS[kind]}" title="{kind}">{escape(shortened(text))}</span>'


def shortened(text: str, most: int = LONGEST_PLAIN) -> str:
    """The text without its middle where it is long, which says how much is missing."""
    if len(text) <= most + 40:
        return text
    half = most // 2
    return f"{text[:half]} […{len(text) - 2 * half:,} characters…] {text[-half:]}"


def legend(kinds: Iterable[str]) -> str:
    """The kinds that have a colour, each in its own."""
    return " ".join(mark(kind, kind) for kind in COLOURS if kind in set(kinds))


def table(rows: Sequence[Mapping[str, Any]], caption: str = "") -> str:
    """Rows as an HTML table under the keys of the first."""
    names = list(rows[0]) if rows else []
    head = "".join(f'<th style="{CELL}">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{escape(cell(row.get(name)))}</td>' for name in names) + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plain_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Rows as a text table under these of their keys."""
    lines = [list(names), *([cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def counted(number: int, what: str) -> str:
    """1 row, 2 rows"""
    return f"{number:,} {what}{'s' * (number != 1)}"


class Rows(list[dict[str, Any]]):
    """Flat rows: printed as how many there are and of what, in a notebook a table of `shown`, or of all columns."""

    shown: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        names = self.shown or (self[0] if self else ())
        return f"{type(self).__name__}({counted(len(self), 'row')} of {', '.join(names)})"

    def _repr_html_(self) -> str:
        return table([{name: row.get(name) for name in self.shown or row} for row in self])

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows as a pandas frame, with all columns."""
        from pandas import DataFrame

        return DataFrame(list(self))


def cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else shortened(str(value), 160)
