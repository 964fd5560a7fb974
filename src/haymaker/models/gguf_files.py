"""GGUF files: their tensors, held against the model that transformers makes of them, and the tokenizer in them.

transformers dequantises the weights, and passes over what it does not know without a word: tensors, and the pattern by
which a vocabulary's texts were split. The former are refused here; the tokenizer is built from the file.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    modeling_gguf_pytorch_utils,
)

from haymaker.console import each
from haymaker.errors import ModelError
from haymaker.models.gguf_config import CHECKPOINT, FACTORS, check_rotated
from haymaker.models.names import refuse_counts

MOST_DESCRIBED = 2  # times what tensors hold: an embedding that is the head too may be described twice
CONTROL, USER_DEFINED = 3, 4  # kinds of token in a GGUF
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# `tokenizer.ggml.pre` -> how texts were split before merges were learned; None: GPT-2's pattern, "digits": and each
# digit for itself
SPLITS: Mapping[str, str | None] = {
    **dict.fromkeys(("gpt-2", "default"), None),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell"), "digits"),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), QWEN2),
    "tekken": TEKKEN,
}
WHOLE_WORDS_FIRST = ("llama-bpe", "llama3", "llama-v3", "tekken")  # a word in the vocabulary is not put together
NORMALISED = ("qwen2", "deepseek-r1-qwen")  # NFC
SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


@contextmanager
def own_progress() -> Iterator[None]:
    """transformers' bar over the tensors that it dequantises gives way to a line after ten seconds, as everywhere."""
    theirs: Any = modeling_gguf_pytorch_utils
    bar, theirs.tqdm = theirs.tqdm, lambda tensors, **_: each(tensors, None, "tensors", len(tensors))
    try:
        yield
    finally:
        theirs.tqdm = bar


@lru_cache(maxsize=2)  # a file is asked for its tensors and its tokenizer, and parsing a vocabulary takes seconds
def reader_of(file: Path, modified: float) -> Any:
    from gguf import GGUFReader

    class Reader(GGUFReader):
        """Which goes on behind a file's end for as many empty values as the file says that it has."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *order: Any, **named: Any) -> Any:
            if int(offset) + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError("it says that it holds more than it does")
            return super()._get(offset, dtype, count, *order, **named)

    try:
        return Reader(file)
    except Exception as error:  # of whatever kind: numpy makes what it can of bytes that are something else
        raise ModelError(f"{file}: not a GGUF file that can be read ({error}); fetch it again") from None


class GGUFFile:
    """A GGUF file's metadata by key, and its tensors. Raises ModelError for a file that is none."""

    def __init__(self, file: Path) -> None:
        self.file, self.reader = file, reader_of(file.resolve(), file.stat().st_mtime)
        said = (f"{self.architecture}.{key}" for key in ("block_count", "expert_count"))
        refuse_counts(str(file), {key: self.get(key) for key in said})

    def get(self, key: str, default: Any = None) -> Any:
        field = self.reader.fields.get(key)
        return default if field is None else field.contents()

    @property
    def architecture(self) -> str:
        return str(self.get("general.architecture"))

    @property
    def precision(self) -> torch.dtype:
        """What its model is computed in: the originals of quantised weights have 16 bits."""
        whole = all(tensor.tensor_type.name == "F32" for tensor in self.reader.tensors)
        return torch.float32 if whole else torch.bfloat16


# ---- the weights


def check_size(gguf: GGUFFile, config: PreTrainedConfig) -> None:
    """Raise ModelError where the metadata describe a larger model than the tensors are: transformers would make it."""
    with torch.device("meta"):
        described = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(deepcopy(config)).parameters())
    held = sum(int(tensor.n_elements) for tensor in gguf.reader.tensors)
    if described > MOST_DESCRIBED * held:
        raise ModelError(
            f"{gguf.file}: its metadata describe a model of {described:.3g} weights, its tensors hold {held:.3g}; "
            "fetch it again"
        )


def check_gguf_weights(gguf: GGUFFile, model: PreTrainedModel) -> None:
    """Raise ModelError, which names them, where tensors of the file have no place in the model or its config."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(kinds[gguf.architecture], model.config.num_hidden_layers)
    placed = {names.get_name(name, try_suffixes=(".weight", ".bias")) for name in model.state_dict()}
    lost = [tensor.name for tensor in gguf.reader.tensors if tensor.name not in placed and tensor.name not in FACTORS]
    if lost:
        raise ModelError(
            f"{gguf.file}: {len(lost)} of its {len(gguf.reader.tensors)} tensors have no place in "
            f"{type(model).__name__}, such as {lost[0]}; {CHECKPOINT}"
        )
    check_rotated(gguf, model)


def forget_quantization(model: PreTrainedModel) -> None:
    """Take off the marks of a quantised model: what was dequantised on loading is a plain one, saved and trained so."""
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if name in vars(model):
            delattr(model, name)
    for config in (model.config, model.base_model.config):
        if hasattr(config, "quantization_config"):
            delattr(config, "quantization_config")


# ---- the tokenizer


def byte_level_tokenizer(gguf: GGUFFile) -> PreTrainedTokenizerBase | None:
    """The byte-level tokenizer that a file describes; None where it is of another kind (sentencepiece, Unigram).

    Raises ModelError for a file without a vocabulary, and for a pattern of splitting that is not in the table: another
    one would give other tokens.
    """
    if gguf.get("tokenizer.ggml.tokens") is None:
        raise ModelError(f"{gguf.file}: holds no tokenizer; put the model's tokenizer.json beside it, give the folder")
    if gguf.get("tokenizer.ggml.model") != "gpt2":
        return None
    pattern = gguf.get("tokenizer.ggml.pre", "default")
    if pattern not in SPLITS:
        raise ModelError(
            f"{gguf.file}: its vocabulary is split as {pattern!r}, known are {', '.join(SPLITS)}; put the model's "
            "tokenizer.json beside the file and give the folder"
        )
    tokens = gguf.get("tokenizer.ggml.tokens")
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level(gguf, tokens, pattern), clean_up_tokenization_spaces=False
    )


def name_special_tokens(gguf: GGUFFile, tokenizer: Any) -> None:
    """Give a tokenizer the special tokens and the chat template of its file, whatever it was made with."""
    tokens = gguf.get("tokenizer.ggml.tokens")
    for name, kind in SPECIAL.items():
        setattr(tokenizer, name, token_of(gguf, tokens, kind))
    tokenizer.chat_template = gguf.get("tokenizer.chat_template")


def token_of(gguf: GGUFFile, tokens: list[str], kind: str) -> str | None:
    number = gguf.get(f"tokenizer.ggml.{kind}_token_id")
    return None if number is None else tokens[number]


def byte_level(gguf: GGUFFile, tokens: list[str], pattern: str) -> Tokenizer:
    """Byte-level BPE with the file's vocabulary, merges, added tokens, and tokens put around a text."""
    merges = [tuple(merge.split(" ")) for merge in gguf.get("tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer: Any = Tokenizer(BPE(vocabulary, merges, ignore_merges=pattern in WHOLE_WORDS_FIRST))
    if pattern in NORMALISED:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = splitter(SPLITS[pattern])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = gguf.get("tokenizer.ggml.token_type")
    for kind in (CONTROL, USER_DEFINED):
        added = [token for token, its in zip(tokens, kinds, strict=True) if its == kind]
        tokenizer.add_tokens([AddedToken(token, normalized=False, special=kind == CONTROL) for token in added])
    if (ends := around(gguf, tokens)) is not None:
        tokenizer.post_processor = ends
    return tokenizer


def splitter(split: str | None) -> pre_tokenizers.PreTokenizer:
    if split is None:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split == "digits":
        first: Any = pre_tokenizers.Digits(individual_digits=True)
    else:
        first = pre_tokenizers.Split(Regex(split), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split == "digits")
    return pre_tokenizers.Sequence([first, byte_level])


def around(gguf: GGUFFile, tokens: list[str]) -> Any:
    """What is put before and after a text; None where the file asks for nothing."""
    ends = {}
    for kind in ("bos", "eos"):
        token = token_of(gguf, tokens, kind)
        ends[kind] = [token] if gguf.get(f"tokenizer.ggml.add_{kind}_token", False) and token is not None else []
    if not ends["bos"] and not ends["eos"]:
        return None
    known = {token: number for number, token in enumerate(tokens)}
    template = processors.TemplateProcessing(
        single=[*ends["bos"], "$A", *ends["eos"]],
        pair=[*ends["bos"], "$A", *ends["bos"], "$B", *ends["eos"]],
        special_tokens=[(token, known[token]) for token in {*ends["bos"], *ends["eos"]}],
    )
    return processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
