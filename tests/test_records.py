"""Records: text and spans derive from segments, so they cannot disagree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haymaker.records import Encoded, Example, Label, Message, Segment, Span, label_runs

DOCUMENT, OTHER, EVIDENCE, ANSWER = Label("document", 1), Label("document", 2), Label("evidence"), Label("answer")


def example(*segments: Segment) -> Example:
    return Example("e", "mdqa", (Message("user", segments),), "?", ("a",))


def test_spans_by_hand() -> None:
    # "[1] Kalo lives in Tami." : evidence is [4, 23), the answer inside it [18, 22).
    found = example(
        Segment("[1] ", (DOCUMENT,)),
        Segment("Kalo lives in ", (DOCUMENT, EVIDENCE)),
        Segment("Tami", (DOCUMENT, EVIDENCE, ANSWER)),
        Segment(".", (DOCUMENT, EVIDENCE)),
        Segment("[2] Rain.", (OTHER,)),
    )
    assert found.spans == {"document": [Span(0, 23), Span(23, 32)], "evidence": [Span(4, 23)], "answer": [Span(18, 22)]}
    assert found.text[found.spans["answer"][0].slice] == "Tami"


@given(
    st.lists(st.tuples(st.text(max_size=4), st.sets(st.sampled_from([DOCUMENT, OTHER, EVIDENCE, ANSWER]))), max_size=8)
)
def test_every_labelled_character_lies_in_a_span_of_its_label(pieces: list[tuple[str, set[Label]]]) -> None:
    segments = [Segment(text, tuple(sorted(labels))) for text, labels in pieces]
    marked: dict[Label, set[int]] = {}
    position = 0
    for segment in segments:
        for label in segment.labels:
            marked.setdefault(label, set()).update(range(position, position + len(segment.text)))
        position += len(segment.text)
    covered: dict[Label, set[int]] = {}
    for label, span in label_runs(segments):
        assert not covered.get(label, set()) & set(range(span.start, span.stop))
        covered.setdefault(label, set()).update(range(span.start, span.stop))
    assert covered == {label: places for label, places in marked.items() if places}


@pytest.mark.parametrize("bounds", [(3, 3), (4, 2), (-1, 2)])
def test_a_span_is_never_empty_or_negative(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="0 <= start < stop"):
        Span(*bounds)


def test_answer_rows_stand_before_the_answer() -> None:
    encoded = Encoded("e", (5, 6, 7, 8, 9), 3)
    assert encoded.prompt_ids == (5, 6, 7)
    assert encoded.answer_ids == (8, 9)
    assert list(encoded.answer_rows) == [2, 3]


def test_labels_print_and_parse() -> None:
    assert Label.parse(str(DOCUMENT)) == DOCUMENT
    assert Label.parse("answer") == ANSWER
