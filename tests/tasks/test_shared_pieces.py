"""Pieces put together from what other documents cost are those that measuring the document whole gives."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import KINDS, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from haymaker.data.fit.measure import Measure
from haymaker.data.fit.patterns import Patterns
from haymaker.data.fit.pieces import Piece
from haymaker.drafts import Document, Host, Pattern, Style
from haymaker.miniature.world import FILLER, World
from haymaker.realism.context import world_passages
from haymaker.realism.symbols import LISTS, dictionary, filled, list_document
from haymaker.records import Label, Segment
from haymaker.tasks.kv import OFFICIAL, records, stock_of
from haymaker.tasks.mdqa import DICTIONARIES, MINIATURE
from haymaker.tasks.summhay import HAYSTACK

CLOSED_BEHIND = Style("closed behind", document="[{number}] <{text}>", tail="\nQuestion: {question}\nAnswer:")
STYLES = {style.name: style for style in (MINIATURE, DICTIONARIES, HAYSTACK, OFFICIAL, CLOSED_BEHIND)}
MEASURES = {(kind, name): Measure(tiny_tokenizer(kind), STYLES[name], False) for kind in KINDS for name in STYLES}
measures = pytest.mark.parametrize("measure", MEASURES.values(), ids=map(", ".join, MEASURES))
NUMBERS = st.integers(0, 10**7).map(str)


# ---- dictionaries, lists and records


def whole(measure: Measure, documents: list[Document]) -> list[Piece]:
    return told(measure, measure.measure(documents))


def told(measure: Measure, pieces: list[Piece]) -> list[Piece]:
    """The pieces, less where the next document starts if that depends on its text: a prompt does not ask them."""
    return pieces if measure.style.alike else [piece._replace(following=0) for piece in pieces]


@measures
@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=8), min_size=1, max_size=5))
def test_lists_of_numbers_cost_what_their_numbers_cost(measure: Measure, numbers: list[list[str]]) -> None:
    documents = [list_document(tuple(some)) for some in numbers]
    assert told(measure, measure.patterns.pieces(documents)) == whole(measure, documents)


@measures
def test_dictionaries_cost_what_their_numbers_cost(measure: Measure) -> None:
    rng = Random(3)
    numbers = [str(rng.randrange(10 ** rng.randint(1, 5))) for _ in range(200)]
    documents = [dictionary(tuple(rng.sample(numbers, 2 * rng.randint(1, 4)))) for _ in range(60)]
    # In two goes, so that the second meets numbers that are known and some that are not.
    found = measure.patterns.pieces(documents[:40]) + measure.patterns.pieces(documents[20:])
    assert told(measure, found) == whole(measure, documents[:40]) + whole(measure, documents[20:])


@measures
def test_records_cost_what_the_parts_of_their_uuids_cost(measure: Measure) -> None:
    documents = list(islice(records(Random(4), stock_of(0)), 40))
    assert told(measure, measure.patterns.pieces(documents)) == whole(measure, documents)


def test_parts_are_tokenised_once() -> None:
    measure = MEASURES["bytes", "dictionaries"]
    numbers = tuple(str(number) for number in range(500_000, 500_008))
    measure.pieces([dictionary(numbers)])
    spent = measure.spent
    measure.pieces([dictionary((numbers[0], *numbers[:0:-1]))])
    assert measure.spent == spent


def joining(*merges: tuple[str, str]) -> Measure:
    """Of a tokenizer that makes these merges wherever it finds them in a line, blanks apart, and no others."""
    letters = [*'0123456789{}:, .aD"docuentTil[]()?x\n<>bf-', *(one + other for one, other in merges)]
    joined = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=list(merges)))
    joined.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    return Measure(PreTrainedTokenizerFast(tokenizer_object=joined), HAYSTACK, False)


def test_a_token_of_digit_and_sign_is_seen_in_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token "7," a list's tokens are not its numbers': "{17, 27, 37}" has two of them, its numbers none."""
    measure, documents = joining(("7", ",")), [list_document(("1", "2", "3")), list_document(("17", "27", "37"))]
    assert measure.pieces(documents) == measure.measure(documents)
    assert measure.patterns.adders == {LISTS[3]: None}
    # Were it overlooked, the sum would be wrong.
    monkeypatch.setattr(Patterns, "joined", lambda self, left, right: False)
    blind = joining(("7", ","))
    assert blind.pieces(documents) != blind.measure(documents)


@pytest.mark.parametrize(
    ("merges", "counted"),
    [
        ((), [0, 0, 0]),
        ((('"', "a"),), [1, 0, 1]),  # a quote may share a token with a letter, what stands before it may not
        (((" ", '"'), ('"', "a")), [1, 0, 2]),  # nor may what stands before the blank
        (((":", " "), (" ", '"'), ('"', "a")), [1, 0, 3]),
        ((("-", "b"), ('"', "f"), (" ", "a")), [1, 1, 1]),
        ((('"', ":"), (":", " "), (" ", '"'), ('"', "a")), [1, 0, 4]),  # all of it: only the part before is apart
    ],
)
def test_a_part_is_tokenised_with_what_may_share_its_token(
    merges: tuple[tuple[str, str], ...], counted: list[int]
) -> None:
    """{"%s-%s": "%s"}: letters that count with the first part, behind the dash, and behind the colon."""
    pattern, rng = Pattern('{"%s-%s": "%s"}', "[0-9abf]"), Random(5)
    words = ["".join(rng.choices("0123456789abf", k=rng.randint(1, 4))) for _ in range(120)]
    documents = [filled(pattern, tuple(words[i : i + 3])) for i in range(0, 120, 3)]
    measure = joining(*merges)
    assert measure.pieces(documents) == measure.measure(documents)
    adder = measure.patterns.adders[pattern]
    assert adder is not None
    assert adder.lead is not None
    assert [adder.lead.counted, *(lead.counted for lead in adder.places)] == counted


def test_a_first_part_whose_token_may_reach_beyond_its_text_is_measured_where_it_stands() -> None:
    """ "a behind a blank or a bracket is one token with it: nothing of the text alone tells what the part costs."""
    measure, pattern = joining(("\n", '"'), ('"', "a")), Pattern('"%s"', "[0-9abf]")
    documents = [filled(pattern, (word,)) for word in ("a1", "1a", "ff", "a", "b0", "aa")]
    assert measure.pieces(documents) == measure.measure(documents)
    adder = measure.patterns.adders[pattern]
    assert adder is not None
    assert adder.lead is None


# ---- something put into a text


def with_insertion(text: str, at: int, said: str, title: str = "Physics") -> Document:
    """As a carrier of an insight is made."""
    before, after = text[:at].rstrip(), text[at:].strip()
    pieces = (
        Segment(before + " " * bool(before), (FILLER,)),
        Segment(said, (Label("evidence", 0),)),
        Segment(" " * bool(after) + after, (FILLER,)),
    )
    host = Host(text, len(before), len(after))
    return Document(f"{at} {said}", tuple(piece for piece in pieces if piece.text), "gold", title, host=host)


TEXT = " ".join(document.text for document in world_passages("train", 1)[:12])
WORDS = [*World("train", 1).passage(Random(1)).split(), "1901.", "(150,782", "—", "\n", "", "\u00e9"]


@measures
@given(st.integers(0, len(TEXT)), st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join))
def test_an_insertion_is_measured_as_the_whole_text_would_be(measure: Measure, at: int, said: str) -> None:
    document = with_insertion(TEXT, at, said.strip() or "So it is.")
    assert measure.hosts.pieces([document]) == measure.measure([document])


@measures
def test_a_text_is_its_own_host(measure: Measure) -> None:
    whole = Document("whole", (Segment(TEXT, (FILLER,)),), host=Host(TEXT, len(TEXT), 0))
    assert measure.hosts.pieces([whole]) == measure.measure([whole])


def test_only_what_stands_around_an_insertion_is_tokenised() -> None:
    measure = MEASURES["bytes", "haystack"]
    first, second = (with_insertion(TEXT, at, "So it is said.") for at in (400, 900))
    tokens = measure.pieces([first])[0].tokens
    spent = measure.spent
    measure.pieces([second])
    assert 0 < measure.spent - spent < tokens / 10
