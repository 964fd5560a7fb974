"""Branches of one prefill against one forward per edit: for every architecture, scope and kind of edit."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tiny_models import BUILDERS, logits, tiny_model, tokens

from haymaker.attention.edits import Knockout, Mean, Patch, Resample, Uniform, Zero, edit
from haymaker.attention.recording import record
from haymaker.errors import ConfigError, ProbeError
from haymaker.interventions.branches import Branch, Trunk
from haymaker.records import Head, Span

PROMPT, LENGTH = 19, 24  # longer than the windows of the windowed models
BRANCHABLE = [name for name in BUILDERS if name != "qwen3_next"]
ROWS = {"last": [PROMPT - 1], "decode": range(PROMPT, LENGTH), "last+decode": range(PROMPT - 1, LENGTH)}


def one_by_one(
    model: Any, ids: torch.Tensor, branches: Sequence[Branch], rows: Sequence[int], prompt: int = PROMPT
) -> torch.Tensor:
    """log p [branch, answer token], each branch in a whole forward of its own."""
    found = []
    for edits in branches:
        with torch.no_grad(), edit(model, *edits, scope=list(rows)):
            table = logits(model, ids, use_cache=False)[0, prompt - 1 : -1].log_softmax(-1)
        found.append(table.gather(-1, ids[0, prompt:, None])[:, 0])
    return torch.stack(found)


@pytest.mark.parametrize("scope", ROWS)
@pytest.mark.parametrize("name", BRANCHABLE)
def test_every_head_zeroed_in_a_branch_of_its_own_equals_a_forward_of_its_own(name: str, scope: str) -> None:
    model, ids = tiny_model(name), tokens(1, LENGTH)
    trunk = Trunk(model, ids[0, :PROMPT].tolist(), rows_at_once=25)  # five branches at once: several forwards
    branches: list[Branch] = [[], *([Zero([head])] for head in trunk.architecture.heads)]
    found = trunk.log_probabilities(branches, ids[0, PROMPT:].tolist(), scope)
    expected = one_by_one(model, ids, branches, ROWS[scope])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert (expected[1:] - expected[0]).abs().max() > 0.3  # else the law says nothing


@pytest.mark.filterwarnings("ignore:_compile flag on create_block_mask:DeprecationWarning")  # transformers 5.23
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("backend", ["eager", "flex_attention"])
def test_other_backends_give_the_same(backend: str) -> None:
    model, ids = tiny_model("llama", backend), tokens(1, LENGTH)
    branches: list[Branch] = [[], [Zero([(0, 1)])]]
    with torch.compiler.set_stance("force_eager"):  # compiling takes minutes on a CPU
        found = Trunk(model, ids[0, :PROMPT].tolist()).log_probabilities(branches, ids[0, PROMPT:].tolist())
    expected = one_by_one(tiny_model("llama"), ids, branches, ROWS["last+decode"])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def edits_of(model: Any, ids: torch.Tensor) -> dict[str, list[Any]]:
    """One edit of each kind on the same heads."""
    heads = [Head(0, 1), Head(2, 3)]
    donor = tiny_model("llama", seed=7)
    with torch.no_grad(), record(donor, heads) as outputs:
        logits(donor, ids)
    with torch.no_grad(), record(donor, heads, rows=[2, 3, 4, 5, 6, 7]) as others:
        logits(donor, tokens(1, LENGTH, seed=5))
    vectors = {head: outputs.of(head)[0].mean(0) for head in heads}
    return {
        "zero": [Zero(heads)],
        "mean": [Mean(heads, vectors)],
        "uniform": [Uniform(heads)],
        "knockout": [Knockout(heads, Span(3, 9))],
        "patch": [Patch(heads, outputs)],
        "resample": [Resample(heads, others)],
        "two": [Zero(heads[:1]), Knockout(heads[1:], Span(0, 4))],
    }


@pytest.mark.parametrize("kind", ["zero", "mean", "uniform", "knockout", "patch", "two"])
def test_every_kind_of_edit_means_in_a_branch_what_it_means_alone(kind: str) -> None:
    model, ids = tiny_model("llama"), tokens(1, LENGTH)
    branches: list[Branch] = [[], edits_of(model, ids)[kind], [Zero([(1, 0)])], edits_of(model, ids)[kind]]
    trunk = Trunk(model, ids[0, :PROMPT].tolist())
    found = trunk.log_probabilities(branches, ids[0, PROMPT:].tolist())
    expected = one_by_one(model, ids, branches, ROWS["last+decode"])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert (expected[1] - expected[0]).abs().max() > 0.1


def test_branches_that_part_decode_as_if_each_had_a_cache_of_its_own() -> None:
    model, ids = tiny_model("mistral"), tokens(1, PROMPT)
    branches: list[Branch] = [[], [Zero([(0, 1), (1, 2)])], [Zero([(2, 0)])]]
    trunk = Trunk(model, ids[0].tolist())
    written = torch.full((3, 1), trunk.last)
    with trunk.growing(branches, "decode") as step:
        newest = written
        for _ in range(6):
            newest = step(range(3), newest)[:, -1].argmax(-1, keepdim=True)
            written = torch.cat([written, newest], dim=1)
    for branch, edits in enumerate(branches):
        whole = ids
        for _ in range(6):
            scope = list(range(PROMPT, whole.shape[1])) or None
            with torch.no_grad(), edit(model, *(edits if scope else []), scope=scope or "all"):
                whole = torch.cat([whole, logits(model, whole)[:, -1:].argmax(-1)], dim=1)
        assert written[branch, 1:].tolist() == whole[0, PROMPT:].tolist()


def test_a_trunk_grows_again_after_its_branches_are_gone_and_the_model_is_as_it_was() -> None:
    model, ids = tiny_model("llama"), tokens(1, LENGTH)
    before = logits(model, ids)
    trunk = Trunk(model, ids[0, :PROMPT].tolist())
    answer = ids[0, PROMPT:].tolist()
    first = trunk.log_probabilities([[], [Zero([(0, 0)])]], answer)
    keys = trunk.cache.layers[0].keys.data_ptr()  # type: ignore[union-attr]
    assert torch.equal(trunk.log_probabilities([[], [Zero([(0, 0)])]], answer), first)
    assert trunk.cache.layers[0].keys.data_ptr() == keys  # type: ignore[union-attr]  # the prompt's keys never moved
    with pytest.raises(RuntimeError, match="stop"), trunk.growing([[]], "last"):
        raise RuntimeError("stop")
    assert torch.equal(trunk.log_probabilities([[], [Zero([(0, 0)])]], answer), first)
    assert torch.equal(logits(model, ids), before)


def test_a_prompt_of_one_token_has_an_empty_trunk() -> None:
    model, ids = tiny_model("llama"), tokens(1, 4)
    found = Trunk(model, ids[0, :1].tolist()).log_probabilities([[], [Zero([(1, 1)])]], ids[0, 1:].tolist())
    expected = one_by_one(model, ids, [[], [Zero([(1, 1)])]], range(4), prompt=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


REFUSED: dict[str, tuple[Callable[[Trunk], Any], type[Exception], str]] = {
    "unknown scope": (lambda trunk: trunk.log_probabilities([[]], [3], "all"), ConfigError, "scope"),
    "unknown head": (lambda trunk: trunk.log_probabilities([[Zero([(0, 9)])]], [3]), ProbeError, "0-9"),
    "a head twice": (
        lambda trunk: trunk.log_probabilities([[Zero([(0, 1)]), Uniform([(0, 1)])]], [3]), ProbeError, "two edits"
    ),
    "no room": (lambda trunk: trunk.log_probabilities([[]], [3] * 9), ConfigError, "rows_at_once"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_use_is_refused(case: str) -> None:
    act, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        act(Trunk(tiny_model("llama"), tokens(1, 8)[0].tolist(), rows_at_once=8))


def test_layers_without_a_cache_of_keys_are_refused() -> None:
    with pytest.raises(ProbeError, match=r"layers \[0\] have no attention cache.*scope='all'"):
        Trunk(tiny_model("qwen3_next"), tokens(1, 8)[0].tolist())
