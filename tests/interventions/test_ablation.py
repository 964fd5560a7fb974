"""Ablation and patching on tiny random models: laws, and one equality against a hook written here."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from haymaker.attention.edits import Patch, Zero, edit
from haymaker.attention.recording import record
from haymaker.errors import ConfigError, ModelError, ProbeError
from haymaker.evaluation.predictions import Evaluation
from haymaker.heads.scores import HeadScores
from haymaker.interventions.ablation import ablate, ablate_sets, ablation_curve
from haymaker.interventions.head_sets import (
    ablation_sets,
    cut_short,
    few_draws,
    patching_sets,
    random_heads,
    random_sets,
    sets_of,
)
from haymaker.interventions.patching import patch, patch_many, patch_sets, patching_table
from haymaker.models.load import LanguageModel
from haymaker.records import Example, Head, Message, Segment
from haymaker.tokens import encode

LAYERS, HEADS = 3, 4


def examples(count: int = 4) -> list[Example]:
    texts = [f"[1] Kalo lives in Tami{'.' * i}\nQuestion: Where?\nAnswer:" for i in range(count)]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "Where?", ("Tami",))
        for i, text in enumerate(texts)
    ]


def texts(found: Evaluation) -> list[str]:
    return [prediction.text for prediction in found.predictions]


@pytest.fixture
def other(new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    return LanguageModel(new_model(seed=1).requires_grad_(False), tokenizer, "other")


def every_head() -> list[Head]:
    return [Head(layer, head) for layer in range(LAYERS) for head in range(HEADS)]


def test_ablating_nothing_is_the_plain_model_and_ablating_all_is_not(lm: LanguageModel) -> None:
    plain = ablate(lm, examples(), [], new_tokens=6)
    assert texts(ablate(lm, examples(), [], new_tokens=6)) == texts(plain)
    assert texts(ablate(lm, examples(), every_head(), new_tokens=6)) != texts(plain)
    assert texts(ablate(lm, examples(), [], new_tokens=6)) == texts(plain)  # and it is as it was


def test_ablation_equals_zeroed_columns_of_the_output_projection(lm: LanguageModel) -> None:
    chosen = [Head(0, 1), Head(2, 3)]
    found = texts(ablate(lm, examples(), chosen, new_tokens=6))
    width = lm.model.config.head_dim
    with torch.no_grad():
        for head in chosen:
            columns = slice(head.head * width, (head.head + 1) * width)
            lm.model.model.layers[head.layer].self_attn.o_proj.weight[:, columns] = 0
    assert texts(ablate(lm, examples(), [], new_tokens=6)) == found


@pytest.mark.parametrize("scope", ["prompt", "last", "decode", "last+decode"])
def test_ablation_in_a_scope_is_the_edit_step_by_step(lm: LanguageModel, scope: str) -> None:
    """Against one forward per token without a cache, where the scope is the positions themselves."""
    heads, example = [Head(0, 1), Head(2, 3)], examples(1)[0]
    found = ablate(lm, [example], heads, new_tokens=5, scope=scope).predictions[0]
    ids: list[int] = lm.tokenizer(example.text)["input_ids"]  # type: ignore[assignment]
    length, written = len(ids), []
    parts = {"prompt": range(length), "last": [length - 1], "decode": range(length, length + 5)}
    wanted = {position for part in scope.split("+") for position in parts[part]}
    for _ in range(found.generated_tokens):
        tokens = torch.tensor([ids + written])
        rows = sorted(wanted & set(range(tokens.shape[1])))
        with torch.no_grad(), edit(lm.model, *([Zero(heads)] if rows else []), scope=rows or "all"):
            written.append(int(lm.model(tokens).logits[0, -1].argmax()))
    assert lm.tokenizer.decode(written, skip_special_tokens=True).partition("\n")[0].strip() == found.text
    assert found.text != texts(ablate(lm, [example], [], new_tokens=5))[0]


SCOPES = ("all", "prompt", "last", "decode", "last+decode", "decode+last", "prompt+decode")
SETS = ([], [(0, 1), (2, 2)], ["1-0", "1-1", "1-2"], every_head())


@pytest.mark.parametrize("scope", SCOPES)
def test_sets_answer_as_each_of_them_does_alone(lm: LanguageModel, scope: str) -> None:
    """With and without a prefill that they share: edited one set at a time, the reference reads every prompt anew."""
    alone = [ablate(lm, examples(2), heads, 4, scope=scope) for heads in SETS]
    assert ablate_sets(lm, examples(2), SETS, 4, scope=scope) == alone
    assert ablate_sets(lm, examples(2), SETS, 4, scope=scope, tokens_at_once=13) == alone  # two sets at once
    assert len({tuple(texts(found)) for found in alone}) > 1


@pytest.mark.parametrize("scope", ["all", "last+decode"])
def test_sets_of_a_model_that_cannot_branch_answer_alone(linear_attention: LanguageModel, scope: str) -> None:
    sets = ([], [(1, 0), (2, 2)])
    found = ablate_sets(linear_attention, examples(2), sets, 4, scope=scope)
    assert found == [ablate(linear_attention, examples(2), heads, 4, scope=scope) for heads in sets]
    assert found[0] != found[1]


@pytest.mark.parametrize(("scope", "readings"), [("last+decode", 1), ("decode", 1), ("all", 4), ("prompt", 4)])
def test_a_prompt_is_read_once_wherever_the_scope_allows(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, scope: str, readings: int
) -> None:
    counts: list[int] = []

    def count(*given: Any, **options: Any) -> Any:
        counts.append(options["input_ids"].shape[1])
        return forward(*given, **options)

    forward = lm.model.forward
    monkeypatch.setattr(lm.model, "forward", count)
    ablate_sets(lm, examples(1), SETS, 2, scope=scope)
    assert sum(tokens > 10 for tokens in counts) == readings


def test_one_default_scope_for_all_answers() -> None:
    functions = (ablate, ablate_sets, ablation_curve, patch, patch_many, patch_sets, patching_table)
    assert {inspect.signature(function).parameters["scope"].default for function in functions} == {"all"}


def test_an_answer_that_has_no_room_is_refused(lm: LanguageModel) -> None:
    with pytest.raises(ConfigError, match="tokens_at_once: 5 rows cannot hold an answer of 6 tokens"):
        ablate_sets(lm, examples(1), SETS, 6, scope="decode", tokens_at_once=5)
    assert ablate_sets(lm, examples(1), [], 6) == []


def test_patching_a_model_into_itself_changes_nothing(lm: LanguageModel) -> None:
    plain = ablate(lm, examples(), [], new_tokens=6)
    assert texts(patch(lm, lm, examples(), every_head(), new_tokens=6)) == texts(plain)


def test_patched_sets_are_patched_on_the_tokens_that_each_set_wrote(lm: LanguageModel, other: LanguageModel) -> None:
    # One set at a time and without branches: a donor forward over the whole text so far, then the patched recipient's.
    sets = [[], [(0, 1), (2, 2)], every_head()]
    found = patch_sets(lm, other, examples(2), sets, 6, scope="last+decode", tokens_at_once=13)
    for heads, evaluation in zip(sets, found, strict=True):
        for example, prediction in zip(examples(2), evaluation.predictions, strict=True):
            item = encode(example, lm.tokenizer)
            ids = torch.tensor([item.prompt_ids])
            for _ in range(prediction.generated_tokens):
                rows = list(range(item.prompt_length - 1, ids.shape[1]))
                with torch.no_grad(), record(lm.model, every_head()) as outputs:
                    lm.model(input_ids=ids)
                with torch.no_grad(), edit(other.model, *([Patch(heads, outputs)] if heads else []), scope=rows):
                    ids = torch.cat([ids, other.model(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
            text = lm.tokenizer.decode(ids[0, item.prompt_length :].tolist(), skip_special_tokens=True)
            assert prediction.text == str(text).partition("\n")[0].strip()
    assert found[1] != found[0]
    assert found[0] == ablate(other, examples(2), [], new_tokens=6)


@pytest.mark.parametrize("scope", SCOPES)
def test_patched_sets_answer_as_each_of_them_does_alone(lm: LanguageModel, other: LanguageModel, scope: str) -> None:
    found = patch_sets(lm, other, examples(2), SETS, 4, scope=scope)
    for heads, evaluation in zip(SETS, found, strict=True):
        assert evaluation.predictions == patch(lm, other, examples(2), heads, 4, scope=scope).predictions
    assert len({tuple(texts(evaluation)) for evaluation in found}) > 1


def test_sets_that_are_patched_into_the_same_model_change_nothing(lm: LanguageModel) -> None:
    for scope in ("last+decode", "all"):
        found = patch_sets(lm, lm, examples(2), [[], every_head()], new_tokens=6, scope=scope)
        assert found[0] == found[1]


def test_patching_no_head_is_the_recipient(lm: LanguageModel, other: LanguageModel) -> None:
    assert texts(patch(lm, other, examples(), [], new_tokens=6)) == texts(ablate(other, examples(), [], new_tokens=6))


def test_all_heads_of_a_donor_with_the_same_other_weights_make_the_donor(
    lm: LanguageModel, other: LanguageModel
) -> None:
    # The recipient differs from the donor in its attention weights alone, so with all of the donor's head outputs and
    # the donor's o_proj it computes what the donor computes, through prefill and decoding.
    state = lm.model.state_dict()
    attention = ("q_proj", "k_proj", "v_proj")
    kept = {name: value for name, value in other.model.state_dict().items() if any(part in name for part in attention)}
    other.model.load_state_dict({**state, **kept})
    donor = texts(ablate(lm, examples(), [], new_tokens=6))
    assert texts(ablate(other, examples(), [], new_tokens=6)) != donor  # else the law says nothing
    assert texts(patch(lm, other, examples(), every_head(), new_tokens=6)) == donor


def test_patched_decoding_equals_recomputing_without_a_cache(lm: LanguageModel, other: LanguageModel) -> None:
    chosen = [Head(1, 0), Head(1, 2)]
    example = examples(1)[0]
    found = patch(lm, other, [example], chosen, new_tokens=5).predictions[0]
    ids = lm.tokenizer(example.text)["input_ids"]
    width = lm.model.config.head_dim
    outputs: list[torch.Tensor] = []

    def swap(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        swapped = inputs[0].clone()
        for head in chosen:
            columns = slice(head.head * width, (head.head + 1) * width)
            swapped[..., columns] = outputs[-1][..., columns]
        return (swapped,)

    written: list[int] = []
    keep = lm.model.model.layers[1].self_attn.o_proj.register_forward_pre_hook(
        lambda _, inputs: outputs.append(inputs[0])
    )
    write = other.model.model.layers[1].self_attn.o_proj.register_forward_pre_hook(swap)
    with torch.no_grad():
        for _ in range(found.generated_tokens):
            tokens = torch.tensor([ids + written])
            lm.model(tokens)
            written.append(int(other.model(tokens).logits[0, -1].argmax()))
    keep.remove()
    write.remove()
    assert other.tokenizer.decode(written, skip_special_tokens=True).partition("\n")[0].strip() == found.text


def test_bad_use_is_named(lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, new_model: Callable) -> None:
    with pytest.raises(ProbeError, match="7-0"):
        ablate(lm, examples(), [(7, 0)])
    lm.model.train()
    for act in (lambda: ablate(lm, examples(), [(0, 0)]), lambda: ablate_sets(lm, examples(), [[(0, 0)]])):
        with pytest.raises(ModelError, match="train mode"):
            act()
    lm.model.eval()
    smaller = LanguageModel(new_model(layers=2), tokenizer, "smaller")
    with pytest.raises(ModelError, match="one shape"):
        patch(lm, smaller, examples(), [(0, 0)])
    with pytest.raises(ModelError, match="one shape"):
        patch_sets(lm, smaller, examples(), [[(0, 0)]], scope="decode")


def scores(means: list[list[float]]) -> HeadScores:
    return HeadScores(np.array([means]), ("e",), "copy")


def test_random_heads_stay_in_their_layers_outside_what_is_excluded() -> None:
    like = [Head(0, 0), Head(0, 1), Head(2, 3)]
    found = random_heads(like, HEADS, like, "draw", 0)
    assert sorted(head.layer for head in found) == [0, 0, 2]
    assert not set(found) & set(like)
    assert len(set(found)) == 3
    assert found == random_heads(like, HEADS, like, "draw", 0)
    assert any(found != random_heads(like, HEADS, like, "draw", draw) for draw in range(1, 5))


def test_random_heads_overflow_into_other_layers_and_end() -> None:
    like = [Head(1, 0), Head(1, 1), Head(1, 2)]
    found = random_heads(like, HEADS, like, "draw", 0)  # layer 1 has one head left, so two come from layer 0
    assert sorted(head.layer for head in found) == [0, 0, 1]
    with pytest.raises(ConfigError, match="only 0 are left"):
        random_heads([Head(0, 0)], 1, [Head(0, 0)], "draw", 0)


@pytest.mark.parametrize(
    ("like", "excluded", "draws", "exist"),
    [
        (["0-0"], 1, 3, 3),  # 0-1 to 0-3
        (["0-0"], 1, 5, 3),
        (["0-0"], 3, 2, 1),
        (["0-0", "0-1"], 2, 4, 1),  # the two left of their layer
        (["0-0", "1-0"], 1, 8, 9),
        (["0-0", "1-0"], 1, 12, 9),
        (["0-0", "0-1", "0-2"], 3, 99, 6),  # the one left, with two of the four above
    ],
)
def test_random_sets_differ_and_are_all_that_exist_where_as_many_are_asked(
    like: list[str], excluded: int, draws: int, exist: int
) -> None:
    heads = [Head.parse(name) for name in like]
    shut = [Head(head.layer, i) for head in heads for i in range(excluded)]
    sets = list(random_sets(draws, heads, HEADS, shut, "law", layers=2))
    assert len(sets) == len({frozenset(one) for one in sets}) == min(draws, exist)
    assert all(len(one) == len(like) and not set(one) & set(shut) for one in sets)
    assert sets == list(random_sets(99, heads, HEADS, shut, "law", layers=2))[:draws], "more draws change none"
    assert list(sets[0]) == random_heads(heads, HEADS, shut, "law", 0, layers=2)


def test_fewer_sets_than_draws_are_told() -> None:
    sets = list(ablation_sets(scores([[0.1, 0.9, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]), counts=(1, 2), draws=3))
    assert [one.draw for one in sets if one.kind == "random"] == [0, 1, 0]
    assert few_draws(sets, 3) == "fewer distinct sets of random heads than the 3 draws: 2 of k = 1, 1 of k = 2"
    assert few_draws(sets, 1) == ""


def test_ablation_sets_by_hand() -> None:
    found = list(ablation_sets(scores([[0.1, 0.9, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]]), counts=(1, 2), draws=2))
    assert [(item.kind, item.k, item.draw) for item in found] == [
        ("none", 0, 0),
        *[("retrieval", 1, 0), ("random", 1, 0), ("random", 1, 1)],
        *[("retrieval", 2, 0), ("random", 2, 0), ("random", 2, 1)],
    ]
    assert found[1].heads == (Head(0, 1),)
    assert found[4].heads == (Head(0, 1), Head(1, 2))
    assert all(not set(item.heads) & {Head(0, 1), Head(1, 2)} for item in found if item.kind == "random")


def test_random_heads_come_from_layers_above_too_where_the_model_has_them() -> None:
    found = random_heads([Head(0, i) for i in range(4)], HEADS, [Head(0, 0)], "draw", 0, layers=2)
    assert sorted(head.layer for head in found) == [0, 0, 0, 1]  # three are free below, the fourth is above
    scores_of_one_layer = scores([[0.9, 0.8, 0.7, 0.6], [0.0] * 4])
    random = list(ablation_sets(scores_of_one_layer, counts=(4,), draws=1))[-1]
    assert {head.layer for head in random.heads} == {1}


@pytest.mark.parametrize("absent", [nan, 0.0], ids=["unscored", "listed"])
def test_random_heads_are_heads_that_the_model_has(linear_attention: LanguageModel, absent: float) -> None:
    """A layer of linear attention has none; scores say so by NaN, a list of heads by 0."""
    found = scores([[absent] * 4, [0.5, 0.4, 0.3, 0.0], [0.0] * 4])
    rows = ablation_curve(linear_attention, examples(1), found, (3,), 5, new_tokens=3, stop=None)
    drawn = [Head.parse(name) for row in rows[2:] for name in row["head_list"].split()]
    assert sorted(head.layer for head in drawn) == [1] * 5 + [2] * 10
    few = scores([[absent] * 4, [0.9, 0.8, 0.7, 0.6], [0.5, 0.0, 0.0, 0.0]])
    with pytest.raises(ConfigError, match="5 random heads outside 9 excluded ones: only 3 are left"):
        ablation_curve(linear_attention, examples(1), few, (5,), 1, new_tokens=3)


def test_random_heads_of_patching_have_a_score() -> None:
    donor = scores([[nan] * 4, [0.5, 0.4, 0.0, 0.0]])
    recipient = scores([[nan] * 4, [0.5, 0.0, nan, 0.0]])
    for seed in range(8):
        found = list(patching_sets(donor, recipient, 2, 0.1, 1, seed=seed, kinds=["intersection", "union"]))
        assert {item.kind: item.heads[0] for item in found[1:]}["union"] == Head(1, 0)
        assert found[-1].k == 2
        assert set(found[-1].heads) == {Head(1, 2), Head(1, 3)}


@pytest.mark.parametrize("scope", ["all", "decode"])
def test_an_ablation_curve_is_its_sets_as_rows(lm: LanguageModel, scope: str) -> None:
    found = scores([[0.1, 0.9, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0], [0.0] * 4])
    counts: list[int] = []
    rows = ablation_curve(lm, examples(3), found, (1, 2), 2, new_tokens=3, scope=scope, on_progress=counts.append)
    sets = list(ablation_sets(found, (1, 2), 2))
    assert [{key: row[key] for key in ("heads", "k", "draw", "head_list")} for row in rows] == [
        chosen.columns() for chosen in sets
    ]
    assert sum(counts) == 3 * len(sets)
    alone = ablate(lm, examples(3), sets[4].heads, new_tokens=3, scope=scope)
    assert {key: rows[4][key] for key in alone.row()} == alone.row()
    assert rows[4]["delta"] == pytest.approx(alone.f1 - rows[0]["score"])
    assert (rows[0]["delta"], rows[0]["head_list"], rows[0]["scope"]) == (0.0, "", scope)
    assert rows[1]["head_list"] == "0-1"


def test_patching_sets_by_hand() -> None:
    donor = scores([[0.9, 0.8, 0.7, 0.0, 0.0, 0.0], [0.6, 0.0, 0.0, 0.0, 0.0, 0.0]])
    recipient = scores([[0.5, 0.0, 0.0, 0.0, 0.0, 0.0], [0.9, 0.3, 0.0, 0.0, 0.0, 0.0]])
    sets = {item.kind: item.heads for item in patching_sets(donor, recipient, k=3, threshold=0.1, draws=1)}
    # Active in both: 0-0 and 1-0; in the donor alone: 0-1 and 0-2; so two heads each, by the donor's ranking.
    assert sets["intersection"] == (Head(0, 0), Head(1, 0))
    assert sets["complement"] == (Head(0, 1), Head(0, 2))
    assert len(sets["random"]) == 2
    assert not set(sets["random"]) & {Head(0, 0), Head(0, 1), Head(0, 2), Head(1, 0), Head(1, 1)}


@pytest.mark.parametrize("k", range(1, 14))
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "kinds", [("intersection", "complement"), ("complement",), ("union", "complement", "intersection")]
)
def test_every_set_is_patched_whole_and_beside_all_that_have_as_many(k: int, seed: int, kinds: tuple[str, ...]) -> None:
    """The laws of sizes, in maps whose sets have any: no kind loses heads to a smaller one, and what stands beside it
    has exactly as many."""
    rng = np.random.default_rng(seed)
    donor, recipient = (scores((rng.random((4, 8)) * (rng.random((4, 8)) < share)).tolist()) for share in (0.4, 0.3))
    whole = sets_of(donor, recipient, 0.1, kinds)
    found = [one for one in patching_sets(donor, recipient, k, 0.1, 1, kinds=kinds) if one.heads]
    assert all(len(one.heads) == one.k for one in found)
    by_size = {size: {one.kind for one in found if one.k == size} for size in {one.k for one in found}}
    left = 32 - len(donor.active(0.1) | recipient.active(0.1))  # for random ones
    least = min(k, *map(len, whole.values()))
    assert {kind: max(one.k for one in found if one.kind == kind) for kind in whole} == {
        kind: max(least, min(k, len(heads), left)) for kind, heads in whole.items()
    }
    assert (f"{left} heads are left for random sets" in cut_short(donor, recipient, k, 0.1, kinds)) == (
        least < k and left < min(k, max(map(len, whole.values())))
    )
    for size, there in by_size.items():
        assert there == {"random"} | {kind for kind, heads in whole.items() if len(heads) >= size}
    assert by_size[min(by_size)] == {"random", *whole}  # at one size all can be compared
    assert all(one.heads == tuple(whole[one.kind][: one.k]) for one in found if one.kind != "random")


@pytest.mark.parametrize("kinds", [("intersection", "complement"), ("intersection",), ("complement",)])
@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_what_leaves_sets_smaller_than_asked_is_told(k: int, kinds: tuple[str, ...]) -> None:
    """Two heads are active in both, one in the donor alone."""
    donor, recipient = scores([[0.9, 0.8, 0.7, 0.0], [0.0] * 4]), scores([[0.5, 0.4, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0]])
    size = min(k, 1 if "complement" in kinds else 2)
    said = cut_short(donor, recipient, k, 0.1, kinds)
    assert bool(said) == (size < k)
    assert (f"{size} of the {k} heads" in said) == (size < k)
    # What has more is named with how many.
    assert said.endswith("intersection also with 2") == (size < k and len(kinds) == 2)
    # A set of none is no row, which is told too.
    nothing = cut_short(donor, donor, 1, 0.1, kinds)
    assert nothing.endswith("complement 0; a set of none is left out") == ("complement" in kinds)


def test_the_union_is_ranked_by_the_larger_mean() -> None:
    donor = scores([[0.9, 0.2, 0.0, 0.0], [0.0, 0.0, 0.4, 0.0]])
    recipient = scores([[0.1, 0.0, 0.7, 0.0], [0.0, 0.0, 0.0, 0.3]])
    found = {item.kind: item for item in patching_sets(donor, recipient, 5, 0.05, 1, kinds=("union", "intersection"))}
    # In both: 0-0 alone; the union is 0-0 (0.9), 0-2 (0.7), 1-2 (0.4), 1-3, 0-1, of which three heads are not.
    assert {kind: item.heads for kind, item in found.items() if kind in ("union", "intersection")} == {
        "union": (Head(0, 0), Head(0, 2), Head(1, 2)),
        "intersection": (Head(0, 0),),
    }
    apart = scores([[0.0, 0.0, 0.7, 0.6], [0.0] * 4])
    union = next(item for item in patching_sets(donor, apart, 3, 0.05, 0, kinds=["union"]) if item.kind == "union")
    # Nothing in both; in the donor alone 0-0, 1-2, 0-1; so three heads, the best of either: 0.9, 0.7, 0.6.
    assert union.heads == (Head(0, 0), Head(0, 2), Head(0, 3))


def test_a_lockstep_leaves_the_language_model_alone(lm: LanguageModel, other: LanguageModel) -> None:
    before = replace(other)
    patch(lm, other, examples(1), [(0, 0)], new_tokens=2)
    assert other.model is before.model
