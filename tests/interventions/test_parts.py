"""Parts of a patch: laws that hold whatever the models are, and what differs found where it was put."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from any_architecture import tiny
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from haymaker.errors import ModelError, ProbeError
from haymaker.interventions.causal import causal_map
from haymaker.interventions.parts import PARTS, patching_parts
from haymaker.models.load import LanguageModel
from haymaker.records import Example, Message, Segment

HEADS = ["1-0", "1-3"]  # of layer 1, of both key-value heads


def examples() -> list[Example]:
    texts = ["Kalo lives in Tami.\nWhere?", "The winner of the prize was told to come home.\nWhat?"]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "?", (answer,))
        for i, (text, answer) in enumerate(zip(texts, ("Tami", "come home"), strict=True))
    ]


@contextmanager
def changed(model: PreTrainedModel, *names: str) -> Iterator[PreTrainedModel]:
    """A model with other weights of these names."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if any(part in name for part in names):
                weight.add_(torch.randn_like(weight) * 0.2)
    yield model


@pytest.fixture
def pair(
    new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase
) -> Callable[..., tuple[LanguageModel, LanguageModel]]:
    """A donor that differs in the weights of these names, and the recipient."""

    def build(*names: str, kind: str = "llama") -> tuple[LanguageModel, LanguageModel]:
        with changed(new_model(kind), *names) as other:
            models = other, new_model(kind)
        return tuple(LanguageModel(model.requires_grad_(False), tokenizer, "tiny") for model in models)  # type: ignore[return-value]

    return build


def effects(donor: LanguageModel, recipient: LanguageModel, heads: list[str] = HEADS) -> dict[str, float]:
    rows = patching_parts(donor, recipient, examples(), {"some": heads})
    assert [row["part"] for row in rows] == list(PARTS)
    assert all(row["effect_low"] <= row["effect"] <= row["effect_high"] and row["n"] == 2 for row in rows)
    return {row["part"]: row["effect"] for row in rows}


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_the_whole_is_what_patching_writes(pair: Any, kind: str) -> None:
    donor, recipient = pair("proj", kind=kind)
    mapped = causal_map(recipient, examples(), donor).mean
    assert effects(donor, recipient, ["1-3"])["whole"] == pytest.approx(mapped[1, 3], abs=2e-4)
    assert abs(mapped[1, 3]) > 1e-2


@pytest.mark.parametrize(("kind", "head"), [("llama4_text", "3-3"), ("qwen3_next", "3-1")])
def test_so_it_is_where_edits_share_no_prefill(tokenizer: PreTrainedTokenizerBase, kind: str, head: str) -> None:
    """Llama 4 scales attention by the slot of a query, which behind one prefill is not its position; layers of linear
    attention keep no keys to share."""
    models = []
    for seed in (0, 1):
        model = tiny(kind, seed)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for module in model.modules():
            if hasattr(module, "attn_scale"):
                module.attn_scale = 2.0  # type: ignore[assignment] - a number
        models.append(LanguageModel(model.requires_grad_(False), tokenizer, f"tiny {seed}"))
    donor, recipient = models
    layer, column = map(int, head.split("-"))
    mapped = causal_map(recipient, examples(), donor).mean[layer, column]
    assert effects(donor, recipient, [head])["whole"] == pytest.approx(mapped, abs=2e-4)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("layers.1.self_attn.gate_proj",), ("whole", "weights")),
        (("layers.1.self_attn.q_proj",), ("whole", "weights", "query")),
        (("layers.1.self_attn.v_proj",), ("whole", "weights", "value")),
        (("layers.0.mlp",), ("whole", "upstream")),  # queries, keys and values too, but for the gate
    ],
)
def test_a_gate_is_part_of_what_a_head_writes(
    tokenizer: PreTrainedTokenizerBase, names: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    donor, recipient = (tiny("afmoe") for _ in range(2))
    for model in (donor, recipient):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        torch.manual_seed(0)
        torch.nn.init.normal_(model.get_input_embeddings().weight)
        torch.nn.init.normal_(model.get_output_embeddings().weight)
    with changed(donor, *names):
        found = effects(*(LanguageModel(model, tokenizer, "tiny") for model in (donor, recipient)))
    assert abs(found["whole"]) > 1e-3
    assert all(found[part] == pytest.approx(found["whole"], abs=1e-4) for part in parts)
    if names != ("layers.0.mlp",):
        assert all(found[part] == pytest.approx(0, abs=2e-5) for part in PARTS if part not in parts)


def test_heads_that_are_mixed_have_no_parts(tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny("bitnet")
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    lm = LanguageModel(model, tokenizer, "tiny")
    with pytest.raises(ProbeError, match="mixed before it; parts of a patch cannot be told there"):
        effects(lm, lm)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("layers.1.self_attn.q_proj",), ("whole", "query", "weights")),
        (("layers.1.self_attn.k_proj",), ("whole", "key", "weights")),
        (("layers.1.self_attn.v_proj",), ("whole", "value", "weights")),
        (("layers.0.mlp",), ("whole", "upstream", "query", "key", "value")),
        (("layers.2", "lm_head"), ()),  # what comes behind the heads
    ],
)
def test_a_difference_is_found_where_it_is(pair: Any, names: tuple[str, ...], parts: tuple[str, ...]) -> None:
    found = effects(*pair(*names))
    for part in PARTS:
        if part in parts:
            assert abs(found[part]) > 1e-4, part
        else:
            assert found[part] == pytest.approx(0, abs=2e-5), part
    same = [part for part in parts if part in ("whole", "upstream", "weights")]
    assert all(found[part] == pytest.approx(found["whole"], abs=1e-4) for part in same)
    if len(names) == 1 and parts[1] in ("query", "key", "value"):
        assert found[parts[1]] == pytest.approx(found["whole"], abs=1e-4)


def test_models_are_as_they_were_and_refused_where_they_differ(pair: Any, lm: LanguageModel) -> None:
    donor, recipient = pair("proj")
    effects(donor, recipient)
    modules = [module for one in (donor, recipient) for module in one.model.modules()]
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in modules)
    for heads, message in ((["7-0"], "layers with attention"), (["1-9"], "heads 0 to 3 of layer 1, found 9")):
        with pytest.raises(ProbeError, match=message):
            effects(donor, recipient, heads)
    donor.model.train()
    with pytest.raises(ModelError, match="eval mode"):
        effects(donor, recipient)


def test_examples_that_are_kept_are_not_computed_again(
    pair: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    donor, recipient = pair("proj")
    told: list[int] = []
    sets = {"some": HEADS, "none": []}
    first = patching_parts(donor, recipient, examples(), sets, keep=tmp_path / "kept", on_progress=told.append)
    assert [row["effect"] for row in first if row["heads"] == "none"] == pytest.approx([0.0] * len(PARTS), abs=1e-5)
    monkeypatch.setattr("haymaker.interventions.parts.read", lambda *_: pytest.fail("it was computed again"))
    assert patching_parts(donor, recipient, examples(), sets, keep=tmp_path / "kept")[0] == first[0]
    assert told == [1, 1]
