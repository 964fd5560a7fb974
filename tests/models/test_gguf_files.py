"""GGUF. Laws: the function and the tokens that the file spells; what would be left out is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf_writing import state_of, tiny_llama, write_gguf
from tiny_rows import random_rows
from tiny_tokenizers import TEMPLATE, corpus, tiny_tokenizer

from haymaker.config import TrainConfig
from haymaker.errors import ModelError
from haymaker.models.load import load_model, load_tokenizer
from haymaker.models.names import gguf_of
from haymaker.training.loop import train

IDS = torch.arange(3, 43)[None]
TEXTS = [
    *corpus()[:3],
    "In 1912,  20,345 or\n\n7 naïve   cafés;\tdon't\r\n  THEY'RE 北京 🙂",
    "<|user|>\n12<|end|>",
]


@pytest.fixture
def tokenizer():
    return tiny_tokenizer("digits", TEMPLATE)


@pytest.fixture
def file(tmp_path: Path, tokenizer) -> Path:
    write_gguf(tmp_path / "tiny.gguf", tiny_llama(len(tokenizer)), tokenizer, pattern="smollm")
    return tmp_path / "tiny.gguf"


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.Q8_0, Kind.Q4_1, Kind.Q4_0])
def test_a_file_is_the_function_that_its_tensors_spell(tmp_path: Path, tokenizer, kind: Kind, capfd) -> None:
    model = tiny_llama(len(tokenizer))
    written = write_gguf(tmp_path / "tiny.gguf", model, tokenizer, pattern="smollm", kind=kind)
    model.load_state_dict(state_of(written, model))
    lm = load_model(tmp_path / "tiny.gguf", dtype="float32")
    torch.testing.assert_close(lm.model(IDS).logits, model(IDS).logits, rtol=0, atol=1e-5)
    assert capfd.readouterr() == ("", ""), "no bar of transformers"
    assert (lm.name, lm.context, lm.base.config.rope_parameters["rope_theta"]) == ("tiny", 256, 50_000.0)


@pytest.mark.parametrize(("kind", "pattern"), [("digits", "smollm"), ("bytes", "gpt-2")])
def test_the_tokenizer_cuts_as_the_one_that_the_file_was_made_of(tmp_path: Path, kind: str, pattern: str) -> None:
    original = tiny_tokenizer(kind, TEMPLATE)
    write_gguf(tmp_path / "tiny.gguf", tiny_llama(len(original)), original, pattern=pattern)
    read = load_tokenizer(str(tmp_path))
    for text in TEXTS:
        ours, theirs = (each(text, return_offsets_mapping=True) for each in (read, original))
        assert ours["input_ids"] == theirs["input_ids"]
        assert read.decode(ours["input_ids"]) == original.decode(theirs["input_ids"])
    assert (read.chat_template, read.bos_token, read.eos_token) == (TEMPLATE, original.bos_token, original.eos_token)


def test_digits_are_split_before_blanks_are_joined(file: Path) -> None:
    # transformers' own reading leaves `tokenizer.ggml.pre` out: two blanks before a digit become two tokens
    pieces = load_tokenizer(str(file)).tokenize("ab  12")
    assert pieces[-2:] == ["1", "2"]
    assert "".join(pieces) == "abĠĠ12"


def test_a_folder_that_holds_one_file_is_a_model_and_of_several_none(file: Path) -> None:
    folder = file.parent
    assert gguf_of(folder) == file
    assert load_model(folder).name == folder.name
    shutil.copy(file, folder / "other.gguf")
    with pytest.raises(ModelError, match=r"holds 2 GGUF files \(other.gguf, tiny.gguf\); give the path of one"):
        load_model(folder)


def test_a_tokenizer_beside_the_file_wins(file: Path) -> None:
    other = tiny_tokenizer("bytes")
    other.save_pretrained(file.parent)
    assert load_tokenizer(str(file)).chat_template is None


def test_what_was_dequantised_is_plain_saved_and_trained(tmp_path: Path, tokenizer) -> None:
    write_gguf(tmp_path / "a.gguf", tiny_llama(len(tokenizer)), tokenizer, pattern="smollm", kind=Kind.Q8_0)
    lm = load_model(tmp_path / "a.gguf")
    lm.model.save_pretrained(tmp_path / "plain")
    lm.tokenizer.save_pretrained(tmp_path / "plain")
    torch.testing.assert_close(load_model(tmp_path / "plain").model(IDS).logits, lm.model(IDS).logits, rtol=0, atol=0)
    train(lm, random_rows(4), TrainConfig(steps=1, batch=2), tmp_path / "adapter")
    read = load_model(tmp_path / "a.gguf", adapter=tmp_path / "adapter")
    assert read.adapter == tmp_path / "adapter"


def test_a_tensor_without_a_place_is_refused(tmp_path: Path, tokenizer) -> None:
    # some models of other makers are written as Llamas with biases, which transformers passes over
    bias = {"blk.0.attn_q.bias": np.ones(32, dtype=np.float32)}
    write_gguf(tmp_path / "a.gguf", tiny_llama(len(tokenizer)), tokenizer, pattern="smollm", extra=bias)
    with pytest.raises(
        ModelError, match=r"1 of its 22 tensors have no place in LlamaForCausalLM, such as blk.0.attn_q"
    ):
        load_model(tmp_path / "a.gguf")


def test_an_unknown_pattern_of_splitting_is_refused(tmp_path: Path, tokenizer) -> None:
    write_gguf(tmp_path / "a.gguf", tiny_llama(len(tokenizer)), tokenizer, pattern="klingon")
    with pytest.raises(ModelError, match="split as 'klingon', known are .*smollm.*put the model's tokenizer.json"):
        load_tokenizer(str(tmp_path / "a.gguf"))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\x01" * 40, b"not one at all" * 9])
def test_what_is_no_gguf_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.gguf: "):
        load_model(tmp_path / "a.gguf")
