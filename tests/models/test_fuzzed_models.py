"""Folders and files of models, adapters and trainings, damaged at random: an error of ours, or what was there."""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from fuzzed_artifacts import Artifact, check
from gguf_writing import tiny_llama, write_gguf
from peft import LoraConfig, get_peft_model
from tiny_tokenizers import TEMPLATE, tiny_tokenizer

import haymaker as hm
from haymaker.errors import ConfigError, ModelError
from haymaker.interventions.adapters import lent_from_folder
from haymaker.models.checkpoint import write_checkpoint
from haymaker.models.headers import tensors_in
from haymaker.models.load import load_tokenizer
from haymaker.study.machines import shape_for


class Stopped(BaseException):
    """A kill of a training."""


@cache
def taught() -> list[hm.Example]:
    return list(hm.build(hm.Recipe(task="mdqa", length=128, rows=4), load_tokenizer("miniature-sparse")))


def trained(folder: Path, stop_at: int = 9) -> Any:
    """Three steps on four rows, stopped behind one of them."""
    lm, steps = hm.load_model("miniature-sparse"), []

    def count(step: int) -> None:
        steps.append(step)
        if len(steps) > stop_at:
            raise Stopped

    return hm.train(lm, taught(), hm.TrainConfig(steps=3, batch=1, save_every=1), folder, on_progress=count)


def make_adapter(home: Path) -> Path:
    trained(home / "adapter")
    return home / "adapter"


def make_state(home: Path) -> Path:
    with suppress(Stopped):
        trained(home / "adapter", stop_at=2)
    return home / "adapter"


def read_adapter(path: Path) -> Any:
    return next_logits(hm.load_model("miniature-sparse", adapter=path))


@cache
def recipient(adapted: bool) -> Any:
    if not adapted:
        return hm.load_model("miniature-sparse")
    with TemporaryDirectory() as home:
        trained(Path(home) / "adapter")
        return hm.load_model("miniature-sparse", adapter=Path(home) / "adapter")


def lend(adapted: bool) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        lm = recipient(adapted)
        before = next_logits(lm)
        try:
            with lent_from_folder(path, lm):
                pass
        finally:
            assert next_logits(lm) == before
        return True

    return read


def make_model(home: Path) -> Path:
    (home / "model").mkdir()
    write_checkpoint("miniature-sparse", home / "model", hm.Extend(length=256))
    return home / "model"


def read_model(path: Path) -> Any:
    return next_logits(hm.load_model(path))


def next_logits(lm: Any) -> Any:
    return lm.model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1].tolist()


# ---- models of others


def make_folder(home: Path) -> Path:
    """As `save_pretrained` writes one, in two files of weights with an index."""
    tokenizer = tiny_tokenizer("digits", TEMPLATE)
    tiny_llama(len(tokenizer)).save_pretrained(home / "model", max_shard_size="40KB")
    tokenizer.save_pretrained(home / "model")
    return home / "model"


def make_gguf(home: Path) -> Path:
    tokenizer = tiny_tokenizer("digits", TEMPLATE)
    write_gguf(home / "tiny.gguf", tiny_llama(len(tokenizer)), tokenizer, pattern="smollm")
    return home / "tiny.gguf"


def make_other_adapter(home: Path) -> Path:
    model = get_peft_model(hm.load_model("miniature-sparse").model, LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(str(home / "adapter"))
    return home / "adapter"


def read_folder(path: Path) -> Any:
    """All that reads a model: what a study expects of its size, its tokenizer and template, its weights, an answer."""
    shape_for(str(path), 4, 4)
    tensors_in(path)
    lm = hm.load_model(path)
    row = hm.example("Ada Reyes founded the mill. Who did?", needle="Ada Reyes", answer="Ada")
    assert repr(lm)
    assert hm.encode(row, lm.tokenizer).input_ids
    return next_logits(lm), hm.evaluate(lm, row, new_tokens=8).predictions[0].text


MODELS = {
    "an adapter": Artifact(make_adapter, read_adapter, digested=True),
    "an adapter that is lent": Artifact(make_adapter, lend(adapted=False)),
    "an adapter lent beside another": Artifact(make_adapter, lend(adapted=True)),
    "a finished training": Artifact(make_adapter, lambda path: trained(path).record["final_loss"]),
    "a training's state": Artifact(make_state, lambda path: trained(path).record["final_loss"]),
    "an extended model": Artifact(make_model, read_model),
    "a model's folder": Artifact(make_folder, read_folder),
    "a model's GGUF": Artifact(make_gguf, read_folder),
    "an adapter of PEFT's": Artifact(make_other_adapter, read_adapter),
}
IN_THE_SUITE = ("a model's folder", "a model's GGUF")  # the others cost 50 ms and more an example


@pytest.mark.parametrize("name", IN_THE_SUITE)
def test_what_is_damaged_is_refused_or_read(name: str, tmp_path: Path) -> None:
    check(MODELS[name], tmp_path)


@pytest.mark.parametrize("read", [read_adapter, lend(adapted=False), lend(adapted=True)])
def test_a_config_with_which_pefts_own_forward_fails_is_one_sentence(
    read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = make_adapter(tmp_path) / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"monteclora_config": True}))
    with pytest.raises(ModelError, match="adapter"):
        read(path.parent)


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize(
    "broken",
    [
        {"trainable_token_indices": [1, 2]},  # whose weights the file lacks
        {"target_parameters": ["mlp.none"]},
        {"r": 3},
        {"target_modules": ["q_proj", "embed_tokens"]},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_an_adapter_that_does_not_load_leaves_the_model_as_it_was(
    broken: dict[str, Any], adapted: bool, tmp_path: Path
) -> None:
    path, lm = make_adapter(tmp_path) / "adapter_config.json", recipient(adapted)
    path.write_text(json.dumps(json.loads(path.read_text()) | broken))
    before, logits = dict(lm.model.named_modules()), next_logits(lm)
    with pytest.raises(ModelError, match="adapter"), lent_from_folder(path.parent, lm):
        pass
    assert dict(lm.model.named_modules()) == before
    assert not hasattr(lm.base, "peft_config") or adapted
    assert next_logits(lm) == logits


def test_a_panic_of_the_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    path = make_folder(tmp_path) / "tokenizer.json"
    found = json.loads(path.read_text())
    found["model"]["continuing_subword_prefix"] = "longer than a merge's second half"
    path.write_text(json.dumps(found))
    with pytest.raises(ModelError, match="cannot load its tokenizer: PanicException: "):
        hm.load_model(path.parent)


@pytest.mark.parametrize("key", ["num_hidden_layers", "n_layer", "num_local_experts"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_model_of_more_parts_than_any_is_refused_before_they_are_made(key: str, inside: bool, tmp_path: Path) -> None:
    path = make_folder(tmp_path) / "config.json"
    many = {key: 10**9}
    path.write_text(json.dumps(json.loads(path.read_text()) | ({"text_config": many} if inside else many)))
    with pytest.raises(ModelError, match=f"at most 4096 parts, found {key} = 1e"):
        hm.load_model(path.parent)
    with pytest.raises(ConfigError, match=f"found {key} = 1e"):
        load_tokenizer(str(path.parent))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("block_count", "at most 4096 parts, found llama.block_count = 1e"),
        ("expert_count", "at most 4096 parts, found llama.expert_count = 1e"),
        ("embedding_length", "metadata describe a model of 2.18e[+]12 weights"),
        ("feed_forward_length", "metadata describe a model of 1.92e[+]11 weights"),  # 2 layers, 3 products, 32 wide
        ("attention.key_length", "metadata describe a model of"),
    ],
)
def test_a_gguf_that_describes_another_size_than_it_holds_is_refused_before_it_is_made(
    key: str, said: str, tmp_path: Path
) -> None:
    tokenizer = tiny_tokenizer("digits", TEMPLATE)
    write_gguf(tmp_path / "tiny.gguf", tiny_llama(len(tokenizer)), tokenizer, pattern="smollm", metadata={key: 10**9})
    with pytest.raises(ModelError, match=said):
        hm.load_model(tmp_path / "tiny.gguf")


def test_a_special_token_that_is_an_empty_text_is_none(tmp_path: Path) -> None:
    path = make_folder(tmp_path) / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({"tokenizer_class": config["tokenizer_class"], "eos_token": "<|end|>", "bos_token": ""}))
    tokenizer = load_tokenizer(str(path.parent))
    assert None in tokenizer.all_special_ids
    assert hm.encode(hm.example("Ada founded it.", needle="Ada", answer="Ada"), tokenizer).input_ids


def test_a_gguf_that_says_it_holds_more_than_it_does_is_not_read_behind_its_end(tmp_path: Path) -> None:
    path = make_gguf(tmp_path)
    content, key = path.read_bytes(), b"tokenizer.ggml.token_type"
    kind = content.index(key) + len(key) + 4  # behind the name and "array": the kind of its values, and how many
    path.write_bytes(content[:kind] + struct.pack("<IQ", 0, 2**40) + content[kind + 12 :])  # bytes
    with pytest.raises(ModelError, match="it says that it holds more than it does"):
        hm.load_model(path)
