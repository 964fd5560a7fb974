"""Where an answer stands in a text that is being written, and whether a text gives an answer away."""

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from unicodedata import category, combining, normalize

from haymaker.metrics import normalise
from haymaker.metrics.shared import unspaced
from haymaker.records import Label, Segment

_PUNCTUATION = frozenset(string.punctuation)
_PUNCTUATION_BYTES = string.punctuation.encode()
_WORD = re.compile(r"\S+")
_ARTICLES = frozenset(("a", "an", "the"))
PLAIN = str.maketrans("‘’‚“”„‐‑–—−", "'''\"\"\"-----")  # what editors write, and people type
NON_JOINER, JOINER = "\u200c", "\u200d"
_DIGITS = re.compile(r"\d+(?:[.,]\d+)+")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+[.,]\d+")
_NUKTA_VIRAMA = 9  # classes of marks up to these make other letters in India's scripts; those above are accents
_SELECTORS = "\ufe00\ufe0f"
_SKIN = "\U0001f3fb\U0001f3ff"
LONGEST_WORD = 60  # characters
Range = tuple[int, int]


def without_last_word(text: str) -> str:
    """The text up to its last blank, or to the last letter but one where that is of a script without blanks."""
    at = len(text) - 1
    while at > 0 and not (text[at] == " " or unspaced(text[at - 1])):
        at -= 1
    # A long run without either is no word: it is cut anywhere.
    return text[:at].rstrip(" ") if at > 0 else text[:-1] if len(text) > LONGEST_WORD else ""


def holds(text: str, golds: Iterable[str]) -> bool:
    """Whether the text contains a gold under the scoring metric: substring after `normalise`, sub-words too.

    Where `normalise` leaves nothing of any gold, one is held where it stands as it is written: articles ("A") as whole
    words, signs ("?!") anywhere.
    """
    letters = letters_of(text)
    return any(
        may_hold(letters, wanted) and wanted in normalise(text) if wanted else stands_in(text, gold.strip())
        for gold, wanted in ((gold, normalised_gold(gold)) for gold in to_look_for(golds))
    )


def to_look_for(golds: Iterable[str]) -> list[str]:
    """The golds of which `normalise` leaves something; all where there is none."""
    given = list(golds)
    return [gold for gold in given if normalised_gold(gold)] or given


def stands_in(text: str, said: str) -> bool:
    if any(letter.isalnum() for letter in said):
        return any(whole_words(text, said, re.NOFLAG))
    return bool(said) and said in text


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
    """Ranges where these words stand, and no word runs on at an end."""
    pattern, at = re.compile(re.escape(said), flags), 0  # what is around is not of the pattern: that compiles slowly
    while match := pattern.search(text, at):
        start, stop = match.span()
        if runs_on(text, start, ends=False) or runs_on(text, stop, ends=True):
            at = start + 1
        else:
            yield start, stop
            at = stop


def runs_on(text: str, at: int, ends: bool) -> bool:
    """Whether a word of the text runs on over a place at which a gold ends, or begins: Unicode's boundaries of words
    (UAX 29), but that scripts without blanks have none, and that Korean puts particles behind a word."""
    if not 0 < at < len(text):
        return False
    if modifies(text[at]) or text[at - 1] == JOINER or cuts_number(text, at):
        return True
    inside, beside = (text[at - 1], text[at]) if ends else (text[at], base_of(text, at - 1))
    if unspaced(inside) or unspaced(beside) or (ends and is_hangul(beside)):
        return False
    return beside.isalnum() or beside == "_"


def modifies(letter: str) -> bool:
    """Whether a letter is a part of the one before it: a vowel sign, an accent, a joiner, a colour of skin."""
    if _SELECTORS[0] <= letter <= _SELECTORS[1]:  # the same sign, drawn otherwise
        return False
    return category(letter)[0] == "M" or letter in (JOINER, NON_JOINER) or _SKIN[0] <= letter <= _SKIN[1]


def base_of(text: str, at: int) -> str:
    """The letter at a place, or the one that it is a part of."""
    while at > 0 and modifies(text[at]):
        at -= 1
    return text[at]


def cuts_number(text: str, at: int) -> bool:
    """Whether a place is within a number, as of 1.5 or 5,000; days (12.5.1984) and lists (3,4,5) are several."""
    start = stop = at
    while start and (text[start - 1].isdecimal() or text[start - 1] in ".,"):
        start -= 1
    while stop < len(text) and (text[stop].isdecimal() or text[stop] in ".,"):
        stop += 1
    runs = (match for match in _DIGITS.finditer(text, start, stop) if match.start() < at < match.end())
    return any(_NUMBER.fullmatch(match.group()) for match in runs)


def is_hangul(letter: str) -> bool:
    return "\uac00" <= letter <= "\ud7a3"


def all_but_held(texts: Iterable[str], answers: Iterable[str]) -> str:
    """Behind the sentence that texts do not hold an answer as words: how they do all the same; else nothing."""
    read, golds = list(texts), [answer for answer in answers if answer.strip()]
    if any(gold.strip().lower() in text.lower() for text in read for gold in golds):
        return ", but within a longer word or number"
    letters = [letters_alone(text) for text in read]
    if any(said and said in text for text in letters for said in map(letters_alone, golds)):
        return ", but in other characters (quotes, accents, widths, what is not seen)"
    return ""


def letters_alone(text: str) -> str:
    """The text without case, accents, widths, kinds of quotes and of blanks, and what is not seen."""
    plain = normalize("NFKD", text.translate(PLAIN)).casefold()
    return " ".join("".join(letter for letter in plain if not unseen(letter)).split())


def unseen(letter: str) -> bool:
    """Whether a letter is an accent on another one, or is not seen at all."""
    return (combining(letter) > _NUKTA_VIRAMA and not unspaced(letter)) or category(letter) == "Cf"


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
