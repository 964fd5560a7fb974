"""Rows that go through a model together: each once, within the budget, with little padding; rows that do not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haymaker.errors import LengthError
from haymaker.models.batching import batches_of, parted, refuse_long_prompts, refuse_long_rows
from haymaker.records import Encoded


@given(
    st.lists(st.integers(1, 300), max_size=60),
    st.integers(1, 1000),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_every_row_is_in_one_batch_within_the_budget_and_with_little_padding(
    lengths: list[int], tokens_at_once: int, most: int | None
) -> None:
    found = list(batches_of(lengths, tokens_at_once, most))
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        longest = lengths[batch[0]]
        assert len(batch) == 1 or len(batch) * longest <= tokens_at_once  # a row is never cut
        assert len(batch) <= (most or len(lengths))
        assert lengths[batch[-1]] >= longest * 15 / 16
    every = [lengths[i] for batch in found for i in batch]
    assert every == sorted(lengths, reverse=True)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 1000))
def test_no_batch_could_take_the_next_row(lengths: list[int], tokens_at_once: int) -> None:
    found = list(batches_of(lengths, tokens_at_once))
    for batch, following in zip(found, found[1:], strict=False):
        longest, other = lengths[batch[0]], lengths[following[0]]
        assert (len(batch) + 1) * longest > tokens_at_once or other < longest * 15 / 16


@given(st.lists(st.sampled_from([100, 101, 2048, 2049, 2050, 4000]), max_size=40))
def test_a_mask_is_never_made_for_long_rows(lengths: list[int]) -> None:
    """Left-padded rows of more than 2,048 tokens go with their own length alone; the others as without a mask."""
    for batch in batches_of(lengths, 10_000, masked=True):
        of_batch = {lengths[i] for i in batch}
        assert len(of_batch) == 1 or max(of_batch) <= 2048
    short = [length for length in lengths if length <= 2048]
    assert list(batches_of(short, 10_000, masked=True)) == list(batches_of(short, 10_000))


@given(st.lists(st.integers(), max_size=9), st.integers(1, 3))
def test_parts_hold_every_row_once_and_differ_little(rows: list[int], parts: int) -> None:
    found = parted(rows, parts)
    assert [row for part in found for row in part] == rows
    assert len(found) <= parts
    assert all(len(part) <= -(-len(rows) // parts) for part in found)


def test_rows_that_do_not_fit_are_named_with_their_lengths() -> None:
    rows = [Encoded("just", (5,) * 10, 9), Encoded("long", (5,) * 11, 10)]
    refuse_long_rows(rows, 11)
    refuse_long_prompts(rows, 11)
    with pytest.raises(LengthError, match=r"1 of 2 rows .* context of 10 tokens: long \(11\); .* to 11 tokens"):
        refuse_long_rows(rows, 10)
    with pytest.raises(LengthError, match=r"1 of 2 prompts leave no .* of 10 tokens: long \(10\); .* to 11 tokens"):
        refuse_long_prompts(rows, 10)
