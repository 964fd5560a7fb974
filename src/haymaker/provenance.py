"""What decides a model's numbers: the same provenance, the same numbers. And rows kept under it."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from haymaker import __version__
from haymaker.attention.hook import backend_of, decoder_of, open_tools
from haymaker.console import note
from haymaker.errors import ConfigError
from haymaker.file_digests import folder_digest
from haymaker.kept import Codec, Found, Kept, keeping
from haymaker.models.extend import positions_of
from haymaker.models.handshake import is_adapters, tokenizer_digest, weights_digest
from haymaker.models.load import LanguageModel
from haymaker.models.lora import ADAPTER_FILES
from haymaker.models.precision import computed_by
from haymaker.records import Encoded

LIBRARIES = ("torch", "transformers", "peft", "numpy")
LOADED = re.compile(r"(\.lora_[AB])\.weight$")  # PEFT puts the name by which it knows the adapter there


def provenance_of(lm: LanguageModel, encoded: Sequence[Encoded]) -> dict[str, Any]:
    """The model as it stands, the rows as it reads them, the versions that compute."""
    template = lm.tokenizer.chat_template
    return {
        "model": lm.name,
        "weights": weights_digest(lm.model),
        "adapter": adapter_in_use(lm.model),
        **({"adapter_base": "unverified"} if lm.unverified else {}),
        "extend": lm.extend and lm.extend.model_dump(),
        "positions": positions_in_use(lm),
        "tokenizer": tokenizer_digest(lm.tokenizer),
        "template": hashlib.sha256(str(template).encode()).hexdigest() if template else None,
        "backend": backend_of(decoder_of(lm.model)),
        **computed_by(lm.model),
        **rows_in_use(encoded),
        "versions": {"haymaker": __version__} | {name: version(name) for name in LIBRARIES},
    }


def tell_other_tokenizer(rows: Any, reader: Any) -> None:
    """Say where the rows of a dataset were built to lengths in another tokenizer's tokens than those of a `reader` (a
    model, or one that is served)."""
    about = getattr(rows, "manifest", {})
    if about.get("tokenizer_sha256") not in (None, tokenizer_digest(reader.tokenizer)):
        builder, task = about.get("tokenizer_name") or "no name", about["recipe"]["task"]
        note(f"{len(rows)} rows of {task}: built with another tokenizer ({builder}) than that of {reader.name}, so "
             "their lengths in tokens and the share that they fill are other ones here", style="yellow")  # fmt: skip


def positions_in_use(lm: LanguageModel, exact: bool = True) -> dict[str, Any] | None:
    """How the model sees positions, whoever extended it; None without RoPE. Unless `exact` without the frequencies,
    whose last bits a processor chooses."""
    positions = positions_of(lm.base)
    left_out = set() if exact else {"frequencies_digest"}
    return positions and {name: value for name, value in asdict(positions).items() if name not in left_out}


def lender_of(donor: LanguageModel) -> dict[str, Any]:
    """What of a donor decides what its heads write."""
    found = {"weights": weights_digest(donor.model), "adapter": adapter_in_use(donor.model)}
    return {"model": donor.name} | found | {"positions": positions_in_use(donor)}


def adapter_in_use(model: Any) -> str | None:
    """Digest of all weights of the adapter that the model holds, None without."""
    matrices = {name: weight for name, weight in model.named_parameters() if is_adapters(name)}
    return matrices_digest(matrices) if matrices else None


def matrices_digest(matrices: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name, weight in sorted(matrices.items()):
        whole.update(f"{name}{list(weight.shape)}".encode() + weight.detach().float().cpu().numpy().tobytes())
    return whole.hexdigest()


def known_adapter(folder: Path) -> dict[str, str]:
    """`adapter_in_use` of the adapter in a folder, under its name; nothing for other parts than matrices of layers,
    which are called otherwise once they are loaded."""
    path = folder / ADAPTER_FILES[1]
    weights = load_file(path) if path.is_file() else {}
    matrices = {LOADED.sub(r"\1.default.weight", name): weight for name, weight in weights.items()}
    if not matrices or matrices.keys() & weights.keys():
        return {}
    return {"adapter": matrices_digest(matrices)}


def rows_in_use(encoded: Sequence[Encoded]) -> dict[str, str]:
    """The rows as a model reads them, and their prompts alone."""
    return {"dataset": dataset_digest(encoded), "prompts": dataset_digest(encoded, marked=False)}


def dataset_digest(encoded: Sequence[Encoded], marked: bool = True) -> str:
    """Digest of the rows as they were read: ids, tokens, spans; unless `marked` of the tokens alone."""
    whole = hashlib.sha256()
    for item in encoded:
        spans = [(str(label), span.start, span.stop) for label, span in item.labelled_spans]
        about = f"{item.example_id}\0{item.prompt_length}\0{spans}\0" if marked else f"{item.prompt_length}\0"
        whole.update(about.encode())
        whole.update(np.asarray(item.input_ids, dtype=np.int64).tobytes())
    return whole.hexdigest()


# ---- rows that are kept


def kept_rows(
    keep: str | Path | None,
    lm: LanguageModel,
    encoded: Sequence[Encoded],
    codec: Codec[Found],
    *,
    copies: int = 1,
    room: int = 0,
    **options: Any,
) -> AbstractContextManager[Kept[Found]]:
    """What a model makes of rows, `copies` times each, kept in the file `keep` as it is done; nowhere without one.

    `room` is what a batch holds, `options` all that decides rows beside model and rows. Raises ConfigError inside a
    block that edits the model.
    """
    if keep is None:
        return nullcontext(Kept(room=room))
    refuse_inside_blocks(lm, keep)
    inputs = kept_inputs(lm, encoded) | options
    total, what = copies * len(encoded), "rows" if copies == 1 else "answers"
    return keeping(Path(keep), inputs, total, what, codec, room=room)


def refuse_inside_blocks(lm: LanguageModel, keep: str | Path) -> None:
    """Raises ConfigError where a block reads or edits the model: what is kept would not say so."""
    if open_tools(decoder_of(lm.model)):
        raise ConfigError(
            f"keep: {lm.name} is inside a probe or edit block, of which {keep} would not know; keep rows outside one"
        )


def halved_of(ids: Sequence[str], kept: Kept[Any]) -> dict[str, Any]:
    """For a record: the rows that were computed in halves of their batch, since memory ran out; nothing without any."""
    halved = [name for i, name in enumerate(ids) if kept.was_halved(i)]
    return {"halved": halved} if halved else {}


def kept_inputs(lm: LanguageModel, encoded: Sequence[Encoded]) -> dict[str, Any]:
    """The provenance that rows must share. Not where the model lies, nor by which processor and on how many threads it
    runs: they choose last bits, and a job may go on elsewhere."""
    found = provenance_of(lm, encoded)
    for name in ("model", "threads", "processor"):
        del found[name]
    return found


def donor_of(donor: LanguageModel | str | Path | None) -> Any:
    """What a donor lends, as an input of rows that are kept."""
    if donor is None:
        return None
    return kept_inputs(donor, []) if isinstance(donor, LanguageModel) else folder_digest(Path(donor))
