"""Attention-based selectors: by hand where attention is made by hand, by laws on a tiny model."""

import numpy as np
import pytest
import torch

from haymaker.models.load import LanguageModel, load_model
from haymaker.recommender.selectors import contextual_dependency, ladm, long_attention, long_range
from haymaker.records import Encoded


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return load_model("miniature-llama")


def item(tokens: list[int]) -> Encoded:
    return Encoded("e", tuple(tokens), len(tokens) - 2)


def test_spans_that_look_at_one_far_span_depend_more_than_those_that_look_at_all_alike() -> None:
    even, far = np.tril(np.full((16, 16), 0.05), -1), np.zeros((16, 16))
    far[1:, 0] = even.sum(axis=1)[1:]  # as much attention, all of it on the first span
    assert contextual_dependency(even) == pytest.approx(0.0)  # no spread between spans: no retrieval
    assert contextual_dependency(far) > 0.0


def test_dependency_by_hand() -> None:
    # Five spans with a gap of four: the last alone counts, and it has the first alone, whose spread is 0.
    assert contextual_dependency(np.ones((5, 5))) == 0.0
    # Six spans: span 4 has one earlier (spread 0), span 5 has two, 0.4 and 0: spread 0.2, weighted 5/6 x 0.4 = 1/3.
    # Weights of places 4/6 and 5/6: (5/9) x 0.2 / 3.
    focus = np.zeros((6, 6))
    focus[5, 0] = 0.4
    assert contextual_dependency(focus) == pytest.approx(5 / 9 * 0.2 / 3)


def test_strength_is_what_attention_says(lm: LanguageModel) -> None:
    row = item([5 + i % 40 for i in range(64)])
    lm.model.set_attn_implementation("eager")
    with torch.inference_mode():
        (weights, *_) = lm.model(input_ids=torch.tensor([row.input_ids]), output_attentions=True).attentions
    lm.model.set_attn_implementation("sdpa")
    matrix = weights[0].double().numpy()
    later, earlier = np.indices(matrix.shape[1:])
    far = np.where(later - earlier >= 16, matrix, 0)  # a quarter of 64
    strength, variance = long_range(lm, row)
    assert strength == pytest.approx(far.sum(axis=(1, 2)).mean() / 64, abs=1e-5)
    assert variance == pytest.approx(far.reshape(len(far), -1).var(axis=1).mean(), rel=1e-3)


def test_a_row_has_a_dependency_and_the_model_is_as_it_was(lm: LanguageModel) -> None:
    row = item([5 + i % 40 for i in range(64)])
    assert ladm(lm, row) > 0
    assert ladm(lm, row) == ladm(lm, row)


def test_the_pool_is_scaled_as_published() -> None:
    # Strengths 0 to 0.4, variances 0 to 0.1 over the pool: 1 - 0.5 x 1, 0 - 0, 0.5 - 0.5 x 0.5.
    first, second = long_attention([[(0.4, 0.1), (0.0, 0.0)], [(0.2, 0.05)]])
    assert (first.tolist(), second.tolist()) == ([0.5, 0.0], [0.25])
    assert long_attention([[(0.2, 0.1)]])[0].tolist() == [0.25]  # alike everywhere: 0.5 - 0.5 x 0.5


@pytest.mark.parametrize("length", [3, 15, 16, 17])
def test_rows_as_short_as_a_few_tokens_are_read(length: int, lm: LanguageModel) -> None:
    row = item([5 + i % 40 for i in range(length)])
    assert ladm(lm, row) >= 0
    assert length >= 16 or ladm(lm, row) == 0
    assert np.isfinite(long_attention([[long_range(lm, row)]])[0]).all()
