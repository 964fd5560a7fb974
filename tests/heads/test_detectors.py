"""Detectors as pure functions: scores by hand on planted rows, windows as NaN, the words of ROUGE."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from haymaker.choices import DETECTORS
from haymaker.heads.detectors import Observation, copy_wu2024, rouge1_recall
from haymaker.heads.observations import cited_numbers
from haymaker.heads.passes import script_ends
from haymaker.records import Encoded, Label, Span

NAN = float("nan")
# Prompt tokens 10 11 12 13 11; the needle is tokens 1 and 2 (ids 11, 12); the answer is 11 12.
PLANTED = Encoded("planted", (10, 11, 12, 13, 11, 11, 12), 5, ((Label("answer"), Span(1, 3)),))


def observed(*top_positions: list[int], **more: Any) -> Observation:
    """One layer, one head per list of attended positions (a list holds one position per answer row)."""
    top = torch.tensor([top_positions])
    return replace(Observation(PLANTED, [Span(1, 3)], top, torch.full(top.shape, 0.25)), **more)


def score(metric: str, seen: Observation) -> list[list[float]]:
    return DETECTORS[metric](seen).tolist()


@pytest.mark.parametrize(
    ("attended", "copied", "anywhere", "previous"),
    [
        ([1, 2], 1.0, 1.0, 0.0),  # both tokens copied from the needle
        ([1, 1], 0.5, 0.5, 0.5),  # the second row looks at 11 while 12 is produced: the place before 12
        ([4, 2], 0.5, 1.0, 0.0),  # 11 copied, but from outside the needle
        ([0, 3], 0.0, 0.0, 0.5),  # neither; 0 is the place before 11, 3 before an 11 that is not produced there
        ([0, 1], 0.0, 0.0, 1.0),  # each row looks just before the token it produces
        ([-1, -1], 0.0, 0.0, 0.0),  # no key at all is no position, not the last one; `mass` says what is seen
    ],
)
def test_copying_by_hand(attended: list[int], copied: float, anywhere: float, previous: float) -> None:
    found = observed(attended)
    assert score("copy", found) == [[copied]]
    assert score("copy_previous", found) == [[previous]]
    if max(attended) >= 0:
        assert score("copy_anywhere", found) == [[anywhere]]
    else:
        assert math.isnan(score("copy_anywhere", found)[0][0])


def test_copying_a_token_twice_counts_once_but_for_the_script() -> None:
    # The answer repeats 11: both steps copy it, yet of the needle's set {11, 12} only one token was copied.
    twice = replace(PLANTED, input_ids=(10, 11, 12, 13, 11, 11, 11))
    found = Observation(twice, [Span(1, 3)], torch.tensor([[[1, 1]]]), torch.zeros(1, 1, 2), "same", "same")
    assert score("copy", found) == [[0.5]]
    assert score("copy_wu2024", found) == [[1.0]]  # two hits over a span of two


def test_the_scripts_score_exceeds_one_where_a_token_is_copied_more_often_than_the_needle_is_long() -> None:
    thrice = replace(PLANTED, input_ids=(10, 11, 12, 13, 11, 11, 11, 11))
    found = Observation(thrice, [Span(1, 3)], torch.tensor([[[1, 1, 1]]]), torch.zeros(1, 1, 3), "a", "a")
    assert score("copy_wu2024", found) == [[1.5]]
    assert score("copy", found) == [[0.5]]


def test_the_exact_source_continues_what_was_said() -> None:
    # Needle 7 5 8 5, answer 8 5: the 5 after the 8 is the source (position 3), the 5 after the 7 (position 1) is not.
    encoded = Encoded("source", (7, 5, 8, 5, 9, 8, 5), 5, ())
    found = Observation(encoded, [Span(0, 4)], torch.tensor([[[2, 3], [2, 1]]]), torch.zeros(1, 2, 2))
    # k = {5, 7, 8}; the first head copies 8 and 5, the second, by the exact rule, 8 alone.
    assert score("copy_source", found) == [[pytest.approx(2 / 3), pytest.approx(1 / 3)]]
    assert score("copy", found) == [[pytest.approx(2 / 3)] * 2]


@st.composite
def looks(draw: st.DrawFn) -> tuple[list[int], list[int], tuple[int, int], list[int]]:
    """Any prompt of few kinds of tokens, any answer, any needle, any attended positions."""
    prompt = draw(st.lists(st.integers(0, 5), min_size=2, max_size=8))
    answer = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    start = draw(st.integers(0, len(prompt) - 1))
    top = [draw(st.integers(-1, len(prompt) + row - 1)) for row in range(len(answer))]
    return prompt, answer, (start, draw(st.integers(start + 1, len(prompt)))), top


@settings(max_examples=40, deadline=None)
@given(looks())
def test_laws_of_copying(look: tuple[list[int], list[int], tuple[int, int], list[int]]) -> None:
    prompt, answer, needle, top = look
    encoded, rows = Encoded("any", (*prompt, *answer), len(prompt)), torch.tensor([[top]])
    seen = Observation(encoded, [Span(*needle)], rows, torch.zeros(rows.shape), "same", "same")
    copied, source, counted = (DETECTORS[name](seen).item() for name in ("copy", "copy_source", "copy_wu2024"))
    kinds, size = len(set(prompt[slice(*needle)])), needle[1] - needle[0]
    assert 0 <= source <= copied <= 1
    assert copied * kinds <= counted * size + 1e-5  # a set holds each hit once at most
    if len(set(answer)) == len(answer):  # no token can be copied twice
        assert copied * kinds == pytest.approx(counted * size, abs=1e-5)


def test_a_planted_head_is_ranked_first() -> None:
    found = observed([0, 0], [1, 2], [3, 2])
    for metric in ("copy", "copy_source", "copy_anywhere"):
        assert DETECTORS[metric](found).argmax().item() == 1


def test_mass_is_the_mean_over_rows_that_see_the_needle() -> None:
    seen = torch.tensor([[[0.2, 0.6], [0.3, NAN], [NAN, NAN]]])
    first, second, third = score("mass", observed([0, 0], [0, 0], [0, 0], mass=seen))[0]
    assert (first, second) == (pytest.approx(0.4), pytest.approx(0.3))
    assert math.isnan(third)


@pytest.mark.parametrize("metric", ["copy", "copy_source", "copy_previous", "mass", "write"])
def test_a_needle_out_of_sight_is_no_score(metric: str) -> None:
    blind = torch.full((1, 1, 2), NAN)
    zero = torch.zeros(1, 1, 2)
    assert math.isnan(score(metric, observed([0, 0], mass=blind, written=(zero, zero)))[0][0])


def test_the_script_knows_no_windows() -> None:
    found = observed([0, 0], mass=torch.full((1, 1, 2), NAN), needle_text="a", answer_text="a")
    assert score("copy_wu2024", found) == [[0.0]]


def test_insight_by_hand() -> None:
    # Evidence of document 2 is token 1, of document 5 token 3. The answer cites 2, 5 and 9 (which has no evidence).
    labels = ((Label("evidence", 2), Span(1, 2)), (Label("evidence", 5), Span(3, 4)))
    encoded = Encoded("cite", (10, 11, 12, 13, 14, 2, 5, 9), 5, labels)
    full = torch.full((1, 3, 3), 0.1)
    top = torch.tensor([[[1, 3, 1], [1, 1, 3], [3, 0, 0]]])
    seen = Observation(encoded, [Span(1, 4)], top, full, cited=(2, 5, 9), documents={2: full, 5: full})
    assert score("insight", seen) == [[1.0, 0.5, 0.0]]
    # Document 5 out of the second head's window: its only step left is that of document 2.
    windowed = full.clone()
    windowed[0, 1] = NAN
    assert score("insight", replace(seen, documents={2: full, 5: windowed})) == [[1.0, 1.0, 0.0]]
    nothing = DETECTORS["insight"](replace(seen, cited=(None, None, 9)))
    assert nothing.isnan().all()


def test_calibrated_mass_is_the_difference_of_means() -> None:
    asked, null = torch.tensor([[[0.5, 0.7, 0.9]]]), torch.tensor([[[0.1, 0.3]]])
    assert score("mass_calibrated", observed([0, 0], asked=(asked, null))) == [[pytest.approx(0.5)]]


def test_write_weighs_the_rest_by_its_length() -> None:
    # The needle is 2 of 5 and then of 6 tokens, so the rest is 3 and 4. Needle 0.9 and 0.5, whole head 1.5 and 0.1:
    # 0.9 - 2/3 * 0.6 = 0.5 and 0.5 - 2/4 * -0.4 = 0.7; their mean is 0.6.
    written = torch.tensor([[[0.9, 0.5]]]), torch.tensor([[[1.5, 0.1]]])
    assert score("write", observed([0, 0], written=written)) == [[pytest.approx(0.6)]]


@pytest.mark.parametrize(
    ("reference", "answer", "recall"),
    [
        ("eat a sandwich", "Eat a SANDWICH!", 1.0),
        ("eat a sandwich and sit", "sit, eat", 2 / 5),
        ("a a b", "a c", 1 / 3),  # repeated words count as often as they are found
        ("", "a", 0.0),
        ("a b", "", 0.0),
    ],
)
def test_rouge1_recall(reference: str, answer: str, recall: float) -> None:
    assert rouge1_recall(reference, answer) == pytest.approx(recall)


def test_the_gate_of_the_script_needs_more_than_half() -> None:
    half = observed([1, 2], needle_text="red fox", answer_text="a red dog")
    assert copy_wu2024(half).isnan().all()
    assert copy_wu2024(replace(half, answer_text="a red fox")).tolist() == [[1.0]]


def letters() -> PreTrainedTokenizerBase:
    """A tokenizer of single characters: id = code point, 10 is Llama 2's byte token of a newline."""
    vocabulary = {"<0x0A>" if number == 10 else chr(number): number for number in range(160)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize(
    ("written", "over"),
    [([65], False), ([65, 10], True), ([144], True), ([10, 65], False), ([65] * 49, False), ([65] * 50, True)],
)
def test_where_the_script_stops(written: list[int], over: bool) -> None:
    assert script_ends(letters(), written) is over


def test_cited_numbers_token_by_token() -> None:
    # Both digits of 12 produce it; the 7 outside brackets and the 3 in a bracket with a word cite nothing.
    found = cited_numbers([ord(letter) for letter in "[12][3, 4] 7 [x3]"], letters())
    assert found == (None, 12, 12, None, None, 3, None, None, 4, *[None] * 8)
