"""The view of one example says what the probe says of the same heads, and shows it without a network."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import haymaker as hm
from haymaker.errors import ConfigError, LengthError

HEADS = ["2-1", (0, 3)]


@pytest.fixture
def example() -> hm.Example:
    return hm.example("A <mill> here. Ada Reyes founded it.", "Ada Reyes founded it.", "Who?", "Ada Reyes")


def test_readings_are_those_of_a_probe(lm, example: hm.Example) -> None:
    view = hm.show_example(lm, example, HEADS, topk=3)
    encoded = hm.encode(example, lm.tokenizer)
    rows = list(encoded.answer_rows)[:-1]  # without the closing end-of-text token
    with hm.probe(lm.model, rows, topk=3) as seen, torch.no_grad():
        lm.model(input_ids=torch.tensor([encoded.input_ids]))
    assert view.heads == (hm.Head(2, 1), hm.Head(0, 3))
    assert len(view.readings) == len(rows) * 2 * 3
    for one in view.readings:
        at = (one.head.layer, 0, one.head.head, one.step, one.rank)
        assert one.position == seen.top_position[at]
        assert np.isclose(one.weight, seen.top_probability[at])
        assert one.token == lm.tokenizer.decode([encoded.input_ids[one.position]])
        assert one.answer_token == lm.tokenizer.decode([encoded.answer_ids[one.step]])
    evidence = encoded.spans["evidence"][0]
    inside = [one.kind for one in view.readings if evidence.start <= one.position < evidence.stop]
    assert set(inside) <= {"evidence", "answer"}


def test_it_shows_itself_escaped_and_saves_a_page(lm, example: hm.Example, tmp_path: Path) -> None:
    view = hm.show_example(lm, example, HEADS)
    page = view.save(tmp_path / "view.html").read_text()
    assert "http" not in page
    assert "&lt;mill&gt;" in re.sub("<[^>]*>", "", page)  # across the spans of its tokens
    assert "<mill>" not in page
    assert page.count("<th ") == 3  # the answer's token, and each head
    assert len(view.to_pandas()) == len(view.rows()) == len(view.readings)
    assert "heads 2-1, 0-3" in repr(view)
    with pytest.raises(ConfigError, match="expected a name that ends in .html"):
        view.save(tmp_path / "view.png")


def test_without_heads_it_takes_those_that_copy(lm, example: hm.Example) -> None:
    best = hm.detect_heads(lm, example, "copy_anywhere").ranked()[:5]
    assert list(hm.show_example(lm, example).heads) == best


def test_heads_may_be_names_or_scores(lm, example: hm.Example) -> None:
    assert hm.show_example(lm, example, "2-1, 0-3").heads == (hm.Head(2, 1), hm.Head(0, 3))
    assert hm.show_example(lm, example, "2-1").heads == (hm.Head(2, 1),)
    scores = hm.detect_heads(lm, example, metric="mass")
    assert list(hm.show_example(lm, example, scores).heads) == scores.ranked()[:5]


def test_heads_that_are_none_and_long_rows_are_refused(lm, example: hm.Example) -> None:
    with pytest.raises(ConfigError, match="tiny has 3 layers of 4 heads, and no 3-0, 0-9"):
        hm.show_example(lm, example, ["0-1", "3-0", "0-9"])
    with pytest.raises(ConfigError, match="expected at least one head"):
        hm.show_example(lm, example, [])
    with pytest.raises(LengthError):
        hm.show_example(lm, hm.example("word " * 200, answer="Ada"), HEADS)
