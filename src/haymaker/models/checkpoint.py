"""A plain checkpoint of an extended model, its adapter merged: a folder that others read as the same function.

Weights that did not change are linked. The config has every key in full, old names beside new ones. What 32 fixed
tokens give travels with it in `probe.json`, and is checked when Haymaker loads the folder.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from haymaker.config import Extend
from haymaker.console import OnProgress, told
from haymaker.errors import ExtensionError, ModelError
from haymaker.file_reading import read_json
from haymaker.files import write_json
from haymaker.models.explaining import without_bars
from haymaker.models.extend import positions_of
from haymaker.models.handshake import (
    allowed_here,
    probe_logits,
    probe_prompt,
    weights_digest,
)
from haymaker.models.load import PROBE_FILE, LanguageModel, Source, load_model
from haymaker.models.lora import adapter_digest, quiet_peft
from haymaker.models.names import TOKENIZER_FILES, WEIGHT_FILES, files_of
from haymaker.models.rounding import relative_norm
from haymaker.vocabulary import tokenizer_digest

KEPT_FILES = ("generation_config.json", *TOKENIZER_FILES)
NOT_WRITTEN = ("quantization_config", "_name_or_path", "_model_name_or_path")  # of what was read
INDEX_FILES = ("*.safetensors.index.json",)
NEOX = ("rotary_emb_base", "rotary_pct")
OLD_NAMES = {"gpt_neox": NEOX, "gpt_neox_japanese": NEOX}  # of theta and the share that turns; others have theirs alike
GEMMA = ("rope_theta", "rope_local_base_freq")
OLD_NAMES_BY_LAYER = {"gemma3_text": GEMMA, "gemma3n_text": GEMMA}  # of the theta of global and of local layers
STEPS = 5


def write_checkpoint(
    path_or_id: str | Path,
    folder: Path,
    extend: Extend | None = None,
    adapter: Path | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Write the extended model, with its adapter merged, into an empty `folder`; returns what `probe.json` holds.

    Progress is of `STEPS`: the model is loaded, its probe read, the folder written, read back and compared.
    Raises ExtensionError or ModelError where what was written is not the same function, and for an adapter on quantised
    weights, into which nothing can be merged.
    """
    advance = told(on_progress, "steps", STEPS)
    lm = load_model(path_or_id, adapter=adapter, extend=extend, dtype="float32", device="cpu")
    advance(1)
    if adapter is not None and getattr(lm.base, "is_quantized", False):
        raise ModelError(f"{lm.name}: its weights are quantised, so no adapter can be merged into them")
    source, expected = Source.of(path_or_id), probe_logits(lm.model, lm.context)
    advance(1)
    dtype = own_dtype(lm)
    linked = adapter is None and write_unchanged(source, folder)
    if not linked:
        with without_bars():
            merged(lm).to(dtype).save_pretrained(folder)
    write_config(lm, folder, dtype, quantised=read_json(Path(source.place) / "config.json") if linked else {})
    write_tokenizer(lm, source, folder)
    advance(1)
    read = load_model(folder, dtype="float32", device="cpu")
    advance(1)
    check_same(lm, read, expected, exact=linked or dtype == torch.float32)
    record = record_of(lm, read, adapter)
    write_json(folder / PROBE_FILE, record)
    advance(1)
    return record


def own_dtype(lm: LanguageModel) -> torch.dtype:
    """The precision that the checkpoint names as its own."""
    dtype = lm.base.config.dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


# ---- what is written


def write_unchanged(source: Source, folder: Path) -> bool:
    """Link the base's weights, or copy them to another disk; False where there are none that could be linked."""
    place = Path(source.place)
    weights = files_of(place, WEIGHT_FILES) if source.gguf is None and place.is_dir() else []
    for path in weights:
        try:
            os.link(path.resolve(), folder / path.name)
        except OSError:
            shutil.copyfile(path, folder / path.name)
    for path in files_of(place, INDEX_FILES) if weights else []:
        shutil.copyfile(path, folder / path.name)
    return bool(weights)


def merged(lm: LanguageModel) -> Any:
    """The base model with the adapter's product added to its weights. Raises ModelError where PEFT cannot add it."""
    if lm.adapter is None:
        return lm.model
    untie(lm.base)
    try:
        with quiet_peft():
            return lm.model.merge_and_unload(safe_merge=True)
    except (RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
        raise ModelError(
            f"{lm.adapter}: PEFT cannot merge this adapter into its base ({' '.join(str(error).split())[:200]}); "
            "use base and adapter apart"
        ) from error


def untie(base: Any) -> None:
    """Give a head that is the embedding weights of its own, where an adapter stands on either: merged they differ."""
    head, embedding = base.get_output_embeddings(), base.get_input_embeddings()
    if head.weight is embedding.weight and (isinstance(head, LoraLayer) or isinstance(embedding, LoraLayer)):
        own: Any = LoraLayer.get_base_layer(head) if isinstance(head, LoraLayer) else head
        own.weight = nn.Parameter(own.weight.detach().clone(), requires_grad=False)
        base.config.tie_word_embeddings = False


def write_config(lm: LanguageModel, folder: Path, dtype: torch.dtype, quantised: dict[str, Any]) -> None:
    """The config in full. How weights are quantised it says as the config of the linked ones does (`quantised`), for
    what was read may be unpacked, or plain, by now."""
    config: Any = lm.base.config
    values = json.loads(config.to_json_string(use_diff=False))
    values = {key: value for key, value in values.items() if key not in NOT_WRITTEN}
    values |= {key: value for key, value in quantised.items() if key == "quantization_config"}
    values |= {"dtype": str(dtype).removeprefix("torch."), "architectures": [type(lm.base).__name__]}
    write_json(folder / "config.json", values | old_names(config.model_type, values.get("rope_parameters") or {}))


def old_names(kind: str, rope: dict[str, Any]) -> dict[str, Any]:
    """RoPE under the names that it had before transformers 5, which older readers look for."""
    if "rope_theta" in rope:
        theta, share = OLD_NAMES.get(kind, ("rope_theta", "partial_rotary_factor"))
        found = {theta: rope["rope_theta"], share: rope.get("partial_rotary_factor")}
        return {name: value for name, value in found.items() if value is not None} | old_rule(rope)
    if kind not in OLD_NAMES_BY_LAYER:  # no name that older readers know says it
        return {}
    whole, local = rope["full_attention"], rope["sliding_attention"]
    names = OLD_NAMES_BY_LAYER[kind]
    return dict(zip(names, (whole["rope_theta"], local["rope_theta"]), strict=True)) | old_rule(whole)


def old_rule(rope: dict[str, Any]) -> dict[str, Any]:
    """`rope_scaling`, null for plain RoPE: without it a class takes its default, which may be YaRN (gpt-oss)."""
    kind = rope.get("rope_type", "default")
    scaling = {"type": kind} | {key: value for key, value in rope.items() if key != "rope_theta"}
    return {"rope_scaling": None if kind == "default" else scaling}


def write_tokenizer(lm: LanguageModel, source: Source, folder: Path) -> None:
    """The base's files as they are; of a GGUF file what was made of it."""
    kept = files_of(Path(source.place), KEPT_FILES) if source.gguf is None else []
    for path in kept:
        shutil.copyfile(path, folder / path.name)
    if not kept:
        lm.tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    if isinstance(most := settings.get("model_max_length"), int) and most < lm.context:
        write_json(path, settings | {"model_max_length": lm.context})


# ---- what is proven


def check_same(lm: LanguageModel, read: LanguageModel, expected: torch.Tensor, *, exact: bool) -> None:
    """Raise ExtensionError or ModelError where what was read back is another function."""
    before, after = positions_of(lm.base), positions_of(read.base)
    if (before and (before.length, before.frequencies_digest, before.window)) != (
        after and (after.length, after.frequencies_digest, after.window)
    ):
        raise ExtensionError(f"{lm.name}: the written config was read back with other positions: {after}, not {before}")
    difference = relative_norm(probe_logits(read.model, read.context), expected)
    if not difference <= (allowed := allowed_here(read, difference, exact=exact)):
        raise ModelError(
            f"{lm.name}: the written checkpoint differs from the model by {difference:.3g} of the norm of its logits, "
            f"with {allowed:.3g} allowed; it was not kept"
        )


def record_of(lm: LanguageModel, read: LanguageModel, adapter: Path | None) -> dict[str, Any]:
    """What the folder is, and what its probe prompt gives, in float32; enough to repeat it with another library."""
    prompt = probe_prompt(read.base.config.get_text_config().vocab_size, read.context)
    logits = probe_logits(read.model, read.context)
    return {
        "format": 1,
        "base": lm.name,
        "adapter": None if adapter is None else {"name": adapter.resolve().name, "digest": adapter_digest(adapter)},
        "extend": lm.extend and lm.extend.model_dump(),
        "context": read.context,
        "weights": weights_digest(read.model),
        "tokenizer": tokenizer_digest(read.tokenizer),
        "probe": {**prompt._asdict(), "logits": [float(f"{value:.6g}") for value in logits]},
    }
