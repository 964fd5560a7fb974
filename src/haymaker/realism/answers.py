"""Where an answer stands in a text that is being written, and whether a text gives an answer away."""

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from haymaker.metrics import normalise
from haymaker.records import Label, Segment

_PUNCTUATION = frozenset(string.punctuation)
_PUNCTUATION_BYTES = string.punctuation.encode()
_WORD = re.compile(r"\S+")
_ARTICLES = frozenset(("a", "an", "the"))
_UNSPACED = (
    ("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"), ("\u3005", "\u3007"), ("\u3040", "\u30ff"),
    ("\u31f0", "\u31ff"), ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"), ("\uff66", "\uff9f"),
    ("\U00020000", "\U0003ffff"),
)  # fmt: skip
LONGEST_WORD = 60  # characters
Range = tuple[int, int]


def unspaced(letter: str) -> bool:
    """Whether a letter is of a script without blanks between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    return any(first <= letter <= last for first, last in _UNSPACED)


def without_last_word(text: str) -> str:
    """The text up to its last blank, or to the last letter but one where that is of a script without blanks."""
    at = len(text) - 1
    while at > 0 and not (text[at] == " " or unspaced(text[at - 1])):
        at -= 1
    # A long run without either is no word: it is cut anywhere.
    return text[:at].rstrip(" ") if at > 0 else text[:-1] if len(text) > LONGEST_WORD else ""


def holds(text: str, golds: Iterable[str]) -> bool:
    """Whether the text contains a gold under the scoring metric: substring after `normalise`, sub-words too."""
    letters = letters_of(text)
    return any(may_hold(letters, gold) and gold in normalise(text) for gold in map(normalised_gold, golds) if gold)


def letters_of(text: str) -> bytes:
    """The text without case and punctuation: what `may_hold` looks through."""
    return text.lower().encode(errors="surrogatepass").translate(None, _PUNCTUATION_BYTES)


def may_hold(letters: bytes, gold: str) -> bool:
    """False only where a text of these letters does not hold the normalised gold: some word of it is not there.

    Many times as fast as to look.
    """
    # Dropping punctuation alone parts fewer letters than `normalise` does, so no gold is lost.
    return all(word.encode(errors="surrogatepass") in letters for word in gold.split())


@lru_cache(maxsize=1_024)
def normalised_gold(gold: str) -> str:
    return normalise(gold)


def occurrences(text: str, gold: str) -> list[Range]:
    """Character ranges where the gold stands in the text as whole words: as written, else ignoring case,
    else under `normalise` (punctuation, case and articles aside).

    In a script without blanks between words any place counts.
    """
    if said := gold.strip():
        for flags in (0, re.IGNORECASE):
            if found := list(whole_words(text, said, flags)):
                return found
    return normalised_occurrences(text, gold)


def whole_words(text: str, said: str, flags: int) -> Iterator[Range]:
    """Ranges where these words stand and no letter of a script with blanks runs on at an end."""
    pattern, at = re.compile(re.escape(said), flags), 0  # what is around is not of the pattern: that compiles slowly
    while match := pattern.search(text, at):
        start, stop = match.span()
        if runs_on(said[0], text[start - 1 : start]) or runs_on(said[-1], text[stop : stop + 1]):
            at = start + 1
        else:
            yield start, stop
            at = stop


def runs_on(end: str, beside: str) -> bool:
    """Whether the letter beside an end of a gold makes another word of it; in a script without blanks none does."""
    letter = beside.isalnum() or beside == "_"
    return letter and not unspaced(end) and not unspaced(beside)


def scorable(gold: str) -> bool:
    """Whether the scoring metric can tell an answer that is this gold: something is left of it after `normalise`."""
    return bool(normalised_gold(gold).strip())


def normalised_occurrences(text: str, gold: str) -> list[Range]:
    """Ranges of runs of words that equal the gold's words after normalising each of them."""
    wanted = normalise(gold).split()
    words = [(bare(match.group()), match.span()) for match in _WORD.finditer(text)]
    words = [(word, place) for word, place in words if word and word not in _ARTICLES]
    size = len(wanted)
    found = []
    for i in range(len(words) - size + 1) if size else ():
        if [word for word, _ in words[i : i + size]] == wanted:
            found.append(trimmed(text, words[i][1][0], words[i + size - 1][1][1]))
    return found


def bare(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter not in _PUNCTUATION)


def trimmed(text: str, start: int, stop: int) -> Range:
    """The range without punctuation at its ends."""
    while text[start] in _PUNCTUATION:
        start += 1
    while text[stop - 1] in _PUNCTUATION:
        stop -= 1
    return start, stop


def answer_ranges(text: str, golds: Sequence[str]) -> list[Range]:
    """Every place of every gold, overlapping ones merged, in order."""
    ranges = sorted({place for gold in golds for place in occurrences(text, gold)})
    merged: list[Range] = []
    for start, stop in ranges:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def marked(text: str, ranges: Iterable[Range], label: Label, around: tuple[Label, ...] = ()) -> tuple[Segment, ...]:
    """The text as segments: `around` labels on all of it, `label` too on the ranges (in order, apart)."""
    segments, at = [], 0
    for start, stop in ranges:
        segments += [Segment(text[at:start], around), Segment(text[start:stop], (*around, label))]
        at = stop
    return tuple(piece for piece in (*segments, Segment(text[at:], around)) if piece.text)
