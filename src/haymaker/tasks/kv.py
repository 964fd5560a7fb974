"""Key-value retrieval in a JSON object (Liu et al. 2024): the plainest probe, symbolic by nature."""

from collections.abc import Iterator
from functools import lru_cache, partial
from random import Random
from typing import Any

from haymaker.config import Recipe
from haymaker.drafts import Document, Draft, Drafts, Style, style_of
from haymaker.errors import ConfigError, DataError
from haymaker.file_reading import required
from haymaker.miniature.world import ANSWER, EVIDENCE, FILLER
from haymaker.randomness import keyed, shuffle
from haymaker.realism.symbols import filled
from haymaker.records import Segment, digest
from haymaker.tasks.sources import in_split, open_rows, sift

METRICS = ("kv_accuracy",)
ANSWER_ROOM = 64  # tokens: a UUID takes 20 to 40
OFFICIAL = Style(
    "official",
    head="Extract the value corresponding to the specified key in the JSON object below.\n\nJSON data:\n{",
    document="{text}",
    joiner=",\n ",
    tail='}\n\nKey: "{question}"\nCorresponding value:',
)
RECORD = '"%s": "%s"'
CLOSERS = 128  # records that may close a row
FINE = 48  # records of other sizes, for short rows and twins
DIGITS, LETTERS = str.maketrans("abcdef", "012345"), str.maketrans("0123456789", "abcdefabcd")
_FIXED, _VERSION = 0xF000 << 64 | 0xC000 << 48, 4 << 76 | 0x8000 << 48  # bits of a UUID that say what it is
Records = tuple[tuple[str, str], ...]


def drafts(recipe: Recipe) -> Drafts:
    """All rows: random UUIDs, or those of `recipe.source` (ordered_kv_records, key, value) and more of them."""
    if recipe.setting not in ("real", "symbolic"):
        raise ConfigError(f"setting: kv holds no prose, so it is real or symbolic, not {recipe.setting}")
    style = style_of(recipe, "official")
    if recipe.source is None:
        return Drafts(partial(world_draft, recipe), style)
    opened = open_rows(recipe.source, recipe.split)
    rows, rejected = sift(opened, parse_row)
    rows = [row for row in rows if in_split(row[0][0], recipe.split, recipe.split_shares)]
    rows.sort(key=lambda row: digest(row[0][0]))
    return Drafts(lambda k: draft_of(recipe, *rows[k]), style, len(rows), opened.inputs, rejected)


def world_draft(recipe: Recipe, row: int) -> Draft:
    rng = keyed(recipe.seed, recipe.split, "kv", row)
    return draft_of(recipe, (unique(rng), unique(rng)), ())


def draft_of(recipe: Recipe, gold: tuple[str, str], others: Records) -> Draft:
    """The gold record among others of its row, in order, and fresh ones."""
    key, value = gold
    return Draft(
        question=key,
        answers=(value,),
        gold=((record(key, value, gold=True),),),
        competitors=tuple((record(*pair),) for pair in others),
        further=partial(records, recipe.seed, key),
        closers=partial(closing_records, recipe.seed, key),
        fine=partial(fine_records, recipe.seed, key),
        facts=[key, value],
        ranked=True,
        concept="symbolic",
        context="symbolic",
        source={"dataset": "kv" if others else "generated"},
    )


def records(seed: int, row: str) -> Iterator[Document]:
    rng = keyed(seed, "records", row)
    while True:
        yield filled(RECORD, (unique(rng), unique(rng)))


def closing_records(seed: int, row: str) -> Iterator[Document]:
    """Records to choose a row's last ones from: of a few that all rows share, so that few are measured for it."""
    found = shared_records(seed)
    return (found[i] for i in shuffle(CLOSERS, keyed(seed, row, "closers")))


def fine_records(seed: int, row: str) -> Iterator[Document]:
    """A few records in sizes that others do not have, to fill short rows and twins to the token.

    Digits alone take fewer tokens where these are cut in threes, letters alone where each digit is a token.
    """
    found = shared_records(seed)
    return (found[CLOSERS + i] for i in shuffle(FINE, keyed(seed, row, "fine")))


@lru_cache(maxsize=8)
def shared_records(seed: int) -> tuple[Document, ...]:
    """The closing records, then the fine ones."""
    rng = keyed(seed, "closing records")
    pairs = [(unique(rng), unique(rng)) for _ in range(CLOSERS + FINE)]
    for i in range(CLOSERS, CLOSERS + FINE):
        key, value = pairs[i]
        only = DIGITS if i % 4 < 2 else LETTERS
        pairs[i] = (key.translate(only) if i % 2 else key, value.translate(only))
    return tuple(record(*pair) for pair in pairs)


def record(key: str, value: str, gold: bool = False) -> Document:
    """One line of the object; a gold one's line is the evidence, its value the answer."""
    if gold:
        pieces = (Segment(f'"{key}": "', (EVIDENCE,)), Segment(value, (EVIDENCE, ANSWER)), Segment('"', (EVIDENCE,)))
        return Document(key, pieces, "gold")
    return Document(key, (Segment(f'"{key}": "{value}"', (FILLER,)),), "competitor", kind=RECORD)


def unique(rng: Random) -> str:
    """A random UUID (version 4, RFC 9562), in half the time that `uuid.UUID` takes."""
    digits = "%032x" % (rng.getrandbits(128) & ~_FIXED | _VERSION)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_row(row: dict[str, Any], place: str) -> tuple[tuple[str, str], Records] | str:
    """The gold record and the others of a row, or why it is of no use."""
    key, value = (required(row, name, str, place) for name in ("key", "value"))
    pairs = required(row, "ordered_kv_records", list, place)
    if not all(isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair) for pair in pairs):
        raise DataError(f"{place}: expected ordered_kv_records to be a list of [key, value]")
    if not key.strip() or not value.strip():
        return "the key or the value is empty"
    if len({pair[0] for pair in pairs}) < len(pairs):
        return "a key stands twice in the object"
    if [key, value] not in pairs:
        return "the object does not hold the key with its value"
    return (key, value), tuple((k, v) for k, v in pairs if k != key)
