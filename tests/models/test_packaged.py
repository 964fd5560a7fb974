"""The bases that come with Haymaker: they load, answer, and are what the table of models says."""

import pytest

import haymaker as hm
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.packaged import SHIPPED


@pytest.fixture(scope="module", params=SHIPPED)
def base(request: pytest.FixtureRequest) -> LanguageModel:
    return load_model(request.param, dtype="float32")


@pytest.fixture(scope="module")
def rows(base: LanguageModel) -> hm.Dataset:
    recipe = hm.Recipe(task="mdqa", setting="real", length=64, rows=40, seed=5, split="test", answer_room=10)
    return hm.build(recipe, base.tokenizer)


def test_it_answers_inside_its_own_context(base: LanguageModel, rows: hm.Dataset) -> None:
    assert base.context == 128
    assert hm.evaluate(base, rows, new_tokens=10).score > 0.7


def test_as_many_heads_copy_as_the_table_says_and_a_tenth_of_them_decides(
    base: LanguageModel, rows: hm.Dataset
) -> None:
    scores = hm.detect_heads(base, rows)
    copying = int((scores.mean > 0.1).sum())
    if base.name == "miniature-llama":
        assert copying > 12  # of 32: half of the model, so that none of them is missed
        return
    assert copying in (3, 4)
    curve = hm.ablation_curve(base, rows, scores, sizes=(3,), draws=2, new_tokens=10)
    found = {kind: [row["score"] for row in curve if row["heads"] == kind] for kind in ("none", "retrieval", "random")}
    assert found["retrieval"][0] < 0.5 * found["none"][0]
    assert min(found["random"]) > 0.8 * found["none"][0]


def test_the_twin_sees_half_its_context_until_it_is_extended() -> None:
    twin = load_model("miniature-mistral")
    assert (twin.base.config.model_type, twin.base.config.sliding_window) == ("mistral", 64)
    longer = load_model("miniature-mistral", extend=hm.Extend(length=256))
    assert longer.extension is not None
    assert longer.extension.original.window == 64
    assert longer.extension.extended.window is None
