"""Laws of the records: spans come from segments, and nothing about them can disagree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haymaker.records import (
    Encoded,
    Example,
    Label,
    Message,
    Segment,
    Span,
    by_kind,
    canonical_json,
    digest,
    label_runs,
)

DOCUMENT, EVIDENCE, ANSWER = Label("document", 3), Label("evidence"), Label("answer")
SEGMENTS = (
    Segment("Intro. "),
    Segment("[3] ", (DOCUMENT,)),
    Segment("Lita lives in ", (DOCUMENT, EVIDENCE)),
    Segment("Vufa", (DOCUMENT, EVIDENCE, ANSWER)),
    Segment(".", (DOCUMENT, EVIDENCE)),
    Segment("\nWhere?"),
)


def example(*messages: Message) -> Example:
    return Example("id", "mdqa", messages, "Where?", ("Vufa", "the Vufa"))


def test_a_span_is_half_open_and_never_empty() -> None:
    span = Span(2, 5)
    assert len(span) == 3
    assert "abcdef"[span.slice] == "cde"
    assert span.shifted(2) == Span(4, 7)
    for start, stop in ((2, 2), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=r"0 <= start < stop"):
            Span(start, stop)


def test_spans_overlap_only_where_they_share_a_place() -> None:
    assert Span(0, 3).overlaps(Span(2, 4))
    assert not Span(0, 3).overlaps(Span(3, 4))  # they touch


def test_labels_nest_and_each_gives_its_own_span() -> None:
    row = example(Message("user", SEGMENTS))
    # "Intro. " is 7 characters, "[3] " 4, "Lita lives in " 14, "Vufa" 4, "." 1.
    assert dict(row.labelled_spans) == {DOCUMENT: Span(7, 30), EVIDENCE: Span(11, 30), ANSWER: Span(25, 29)}
    assert row.text[row.spans["answer"][0].slice] == "Vufa"
    assert row.text[row.spans["evidence"][0].slice] == "Lita lives in Vufa."


def test_a_label_that_comes_again_gives_another_span() -> None:
    pieces = [Segment("a", (ANSWER,)), Segment("-"), Segment("b", (ANSWER,))]
    assert by_kind(label_runs(pieces)) == {"answer": [Span(0, 1), Span(2, 3)]}


def test_neighbours_of_one_label_are_one_span_and_empty_pieces_are_none() -> None:
    pieces = [Segment("ab", (ANSWER,)), Segment("", (EVIDENCE,)), Segment("c", (ANSWER,))]
    assert by_kind(label_runs(pieces)) == {"answer": [Span(0, 3)]}


@given(st.lists(st.tuples(st.text("xy", max_size=3), st.sets(st.sampled_from([DOCUMENT, EVIDENCE, ANSWER])))))
def test_every_character_has_the_labels_of_its_segment(pieces: list[tuple[str, set[Label]]]) -> None:
    segments = [Segment(text, tuple(sorted(labels))) for text, labels in pieces]
    of_character = [set(segment.labels) for segment in segments for _ in segment.text]
    found: list[set[Label]] = [set() for _ in of_character]
    for label, span in label_runs(segments):
        for place in range(span.start, span.stop):
            assert label not in found[place]
            found[place].add(label)
    assert found == of_character


def test_a_label_prints_and_parses() -> None:
    for label in (DOCUMENT, ANSWER):
        assert Label.parse(str(label)) == label


def test_the_target_is_the_first_answer() -> None:
    assert example(Message("user", SEGMENTS)).target == "Vufa"


def test_answer_rows_are_those_that_predict_the_answer() -> None:
    encoded = Encoded("id", (5, 6, 7, 8, 9), prompt_length=3)
    assert encoded.prompt_ids == (5, 6, 7)
    assert encoded.answer_ids == (8, 9)
    assert list(encoded.answer_rows) == [2, 3]  # the logits of token 2 predict token 3, the answer's first


def test_a_digest_depends_on_values_not_on_their_order() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 2, "b": 2})
