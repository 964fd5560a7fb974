"""What objects show of themselves: short, escaped, every span in its colour."""

import numpy as np
import pytest
import torch

import haymaker as hm
from haymaker.evaluation.batch_responses import ServedEvaluation
from haymaker.interventions.patching_runs import Patched
from haymaker.markup import COLOURS, shortened, table


@pytest.fixture
def example() -> hm.Example:
    text = f"{'Plain words. ' * 200}<b>Ada</b> founded the mill."
    return hm.example(text, "<b>Ada</b> founded the mill.", "Who & why?", "Ada")


def test_an_example_shows_itself_in_a_line_and_its_spans_in_colour(example: hm.Example) -> None:
    said = repr(example)
    assert said.endswith("'Who & why?' -> 'Ada', 2,658 characters, 1 answer, 1 evidence, 1 question)")
    assert len(said) < 200
    page = example._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>Ada</b>" not in page
    assert "Who &amp; why?" in page
    assert f'<span style="background: {COLOURS["answer"]}" title="answer">Ada</span>' in page
    assert len(page) < 3_000, "the middle of what has no colour is left out"
    assert "characters…" in page


def test_long_text_loses_its_middle_and_says_how_much() -> None:
    assert shortened("a" * 440) == "a" * 440
    assert shortened("a" * 200 + "b" * 300 + "c" * 200) == f"{'a' * 200} […300 characters…] {'c' * 200}"


def test_a_table_has_the_columns_of_its_first_row() -> None:
    page = table([{"a": 0.25, "b": "<"}, {"a": None, "b": "y"}], "two")
    assert page.count("<tr>") == 3
    assert "0.250" in page
    assert "&lt;" in page
    assert "<caption>two</caption>" in page
    assert table([]) == "<table><thead><tr></tr></thead><tbody></tbody></table>"


def test_a_dataset_shows_what_it_holds(tokenizer) -> None:
    made = hm.build(hm.Recipe(task="mdqa", length=128, rows=12), tokenizer)
    assert repr(made).startswith("Dataset(mdqa, real: 12 rows of 12")
    assert made._repr_html_().count("<tr>") == 11  # a heading and ten rows
    assert "the first 10" in made._repr_html_()
    frame = made.to_pandas()
    assert list(frame.question) == [example.question for example in made]


def test_an_evaluation_shows_its_means_and_answers(lm) -> None:
    rows = [hm.example(f"{name} is here.", question="Who?", answer=name) for name in ("Ada", "Eve")]
    found = hm.evaluate(lm, rows, new_tokens=4)
    assert (
        repr(found) == f"Evaluation(2 answers, squad_f1 {found.f1:.3f}, squad_em {found.em:.3f}, "
        f"best_subspan_em {found.interval('best_subspan_em').mean:.3f}, {found.cut_off} cut off)"
    )
    for kind in (Patched, ServedEvaluation):  # a kind of evaluation tells the same, by its own name
        told = repr(kind.of(found) if kind is Patched else kind(found.predictions))
        assert told == repr(found).replace("Evaluation", kind.__name__)
    assert found._repr_html_().count("<tr>") == 3
    assert list(found.to_pandas().squad_f1) == [one.scores["squad_f1"] for one in found.predictions]


def test_what_holds_many_things_is_one_line_in_words(lm) -> None:
    rows = [hm.example(f"{name} is here.", needle=name, question="Who?", answer=name) for name in ("Ada", "Eve")]
    encoded, found = hm.encode(rows[0], lm.tokenizer), hm.evaluate(lm, rows, new_tokens=4).predictions[0]
    with hm.probe(lm.model, rows=[1], spans={"start": hm.Span(0, 1)}) as seen:
        lm.model(input_ids=torch.tensor([encoded.input_ids]))
    scores = hm.detect_all(lm, rows, ("copy", "mass"))
    curve = hm.ablation_curve(lm, rows, scores["mass"], (1,), 1, new_tokens=4)
    alike = hm.agreement(scores, k=2)
    told = [
        (lm, (lm.name, f"context {lm.context}", "float32 on cpu")),
        (encoded, (f"{len(encoded)} tokens", "evidence 1")),
        (found, (found.example_id, "squad_f1")),
        (seen, ("1 row ", "start")),
        (curve, (f"{len(curve)} rows", "score_low")),
        (alike, ("1 row ", "jaccard")),
    ]
    for shown, words in told:
        assert len(repr(shown)) < 300
        assert "\n" not in repr(shown)
        assert all(word in repr(shown) for word in (type(shown).__name__, *words))
    assert curve._repr_html_().count("<tr>") == len(curve) + 1
    assert "head_list" not in curve._repr_html_()
    assert "nan" not in alike._repr_html_()
    assert list(curve.to_pandas().columns) == list(curve[0])
    assert encoded._repr_html_().count("<tr>") == len(encoded.labelled_spans) + 1
    assert "finish_reason" in found._repr_html_()


def test_head_scores_show_their_best_heads_and_a_map_with_axes() -> None:
    values = np.array([[[0.2, 0.9, 0.0], [np.nan, 0.1, 0.3]]])
    scores = hm.HeadScores(values, ("a",), "copy")
    assert repr(scores) == "HeadScores(copy: 1 examples, 2 layers x 3 heads; best 0-1 0.90, 1-2 0.30, 0-0 0.20)"
    picture = scores._repr_html_()
    assert "<svg" in picture
    assert ">layer<" in picture
    assert ">head<" in picture
    frame = scores.to_pandas()
    assert frame.set_index(["layer", "head"]).score[1, 2] == 0.3
    assert list(frame.n) == [1, 1, 1, 0, 1, 1]
    nothing = hm.HeadScores(np.full((1, 1, 1), np.nan), ("a",), "copy")
    assert "none scored" in repr(nothing)
    assert "<svg" in nothing._repr_html_()
