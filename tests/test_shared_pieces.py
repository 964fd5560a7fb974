"""Pieces put together from what other documents cost are those that measuring the document whole gives."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import KINDS, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from haymaker.building.measure import Measure
from haymaker.miniature.world import FILLER, World
from haymaker.realism.context import dictionary_of, stock
from haymaker.records import Label, Segment
from haymaker.tasks.base import Document, Host, Style
from haymaker.tasks.mdqa import DICTIONARIES, MINIATURE
from haymaker.tasks.summhay import HAYSTACK
from haymaker.tasks.summhay_rows import list_document

CLOSED_BEHIND = Style("closed behind", document="[{number}] <{text}>", tail="\nQuestion: {question}\nAnswer:")
STYLES = {style.name: style for style in (MINIATURE, DICTIONARIES, HAYSTACK, CLOSED_BEHIND)}
MEASURES = {(kind, name): Measure(tiny_tokenizer(kind), STYLES[name], False) for kind in KINDS for name in STYLES}
measures = pytest.mark.parametrize("measure", MEASURES.values(), ids=map(", ".join, MEASURES))
NUMBERS = st.integers(0, 10**7).map(str)


# ---- dictionaries and lists of numbers


@measures
@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=8), min_size=1, max_size=5))
def test_lists_of_numbers_cost_what_their_numbers_cost(measure: Measure, numbers: list[list[str]]) -> None:
    documents = [list_document(tuple(some)) for some in numbers]
    assert measure.numerals.pieces(documents) == measure.measure(documents)


@measures
def test_dictionaries_cost_what_their_numbers_cost(measure: Measure) -> None:
    rng = Random(3)
    numbers = [str(rng.randrange(10 ** rng.randint(1, 5))) for _ in range(200)]
    documents = [dictionary_of(tuple(rng.sample(numbers, 2 * rng.randint(1, 4)))) for _ in range(60)]
    # In two goes, so that the second meets numbers that are known and some that are not.
    found = measure.numerals.pieces(documents[:40]) + measure.numerals.pieces(documents[20:])
    assert found == measure.measure(documents[:40]) + measure.measure(documents[20:])


def test_numbers_are_tokenised_once() -> None:
    measure = MEASURES["bytes", "dictionaries"]
    assert measure.numerals.add_up
    numbers = tuple(str(number) for number in range(500_000, 500_008))
    measure.pieces([dictionary_of(numbers)])
    spent = measure.spent
    measure.pieces([dictionary_of((numbers[0], *numbers[:0:-1]))])
    assert measure.spent == spent


def test_a_token_of_digit_and_sign_is_seen_in_the_vocabulary() -> None:
    """With a token "7," a list's tokens are not its numbers': "{17, 27, 37}" has two of them, its numbers none."""
    letters = [*'0123456789{}:, .aD"docuentTil[]()?x\n<>', "7,"]
    joined = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[("7", ",")]))
    joined.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    measure = Measure(PreTrainedTokenizerFast(tokenizer_object=joined), HAYSTACK, False)
    documents = [list_document(("1", "2", "3")), list_document(("17", "27", "37"))]
    assert measure.numerals.add_up is False
    assert measure.pieces(documents) == measure.measure(documents)
    measure.numerals.__dict__["add_up"] = True
    assert measure.numerals.pieces(documents) != measure.measure(documents)


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


TEXT = " ".join(document.text for document in stock("train", 1)[:12])
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
