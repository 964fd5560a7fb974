"""What a training would refuse after its rows were built, refused before anything runs. Imports no torch."""

import json
import re
from pathlib import Path
from typing import Any

from haymaker.config import TrackConfig, TrainConfig
from haymaker.errors import ConfigError
from haymaker.files import read_json
from haymaker.heads.formats import HeadList, KVScores, read_scores
from haymaker.records import Head
from haymaker.study.config import StudyConfig
from haymaker.training.trackers import check_tracker

INDEX_FILE = "model.safetensors.index.json"
HEADER_BYTES = 8  # a safetensors file begins with the length of its header
MOST_OF_A_HEADER = 100_000_000  # as the format's own reader allows
OF_LAYER = re.compile(r"\.\d+\.(?:.*\.)?(\w+)\.weight$")
GROUPS = ("attention", "mlp")
AS_IN_THE_FILE = (  # model types whose layers bear the names that their files have
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "gpt2", "gpt_neox", "opt",
    "bloom", "falcon", "olmo", "olmo2", "olmo3", "smollm3", "starcoder2", "stablelm", "granite", "cohere",
    "glm", "glm4",
)  # fmt: skip
SIZES = (("num_hidden_layers", "n_layer"), ("num_attention_heads", "n_head"))


def sizes_of(about: dict[str, Any]) -> tuple[int, int] | None:
    """Layers and heads of a config; None where it does not say them."""
    found = [value for keys in SIZES for key in keys if isinstance(value := about.get(key), int)]
    return (found[0], found[1]) if len(found) == len(SIZES) else None


def refuse_other_training(config: StudyConfig, about: dict[str, Any], place: Path | None) -> None:
    """Raises ConfigError for layers, heads and projections that the model of this config and folder does not have, for
    a track that could not be compared, a tracker that is not installed, and rows shared by processes."""
    train = config.train
    if train.context_parallel > 1:
        raise ConfigError(
            f"train.context_parallel: a study trains each adapter in one process, found {train.context_parallel}; give "
            "1, or start `haymaker train` with torchrun"
        )
    check_tracker(train.tracker)
    sizes = sizes_of(about)
    if sizes is not None:
        refuse_other_layers(train, sizes, config.model_name)
    refuse_other_track(train.track, sizes, config.model_name)
    known = names_in(place) if place is not None and about.get("model_type") in AS_IN_THE_FILE else set()
    if known:
        refuse_other_projections(train, known, config.model_name)


def refuse_other_layers(train: TrainConfig, sizes: tuple[int, int], name: str) -> None:
    layers, heads = sizes
    if (last := max(train.layers or (0,))) >= layers:
        raise ConfigError(f"train.layers: {name} has {layers} layers, 0 to {layers - 1}, found {last}")
    for text in train.heads or ():
        head = Head.parse(text)
        if head.layer >= layers or head.head >= heads:
            raise ConfigError(f"train.heads: {name} has {layers} layers of {heads} heads, found {text}")


def refuse_other_track(track: TrackConfig | None, sizes: tuple[int, int] | None, name: str) -> None:
    if track is None:
        return
    if sizes is not None and track.k > sizes[0] * sizes[1]:
        raise ConfigError(f"train.track.k: {name} has {sizes[0] * sizes[1]} heads, found {track.k}")
    if track.reference is None:
        return
    if not (path := Path(track.reference)).exists():
        raise ConfigError(f"train.track.reference: {path}: no such file; give head scores, or leave it out")
    found = read_scores(path)
    shape = None if isinstance(found, HeadList | KVScores) else found.mean.shape
    if None not in (sizes, shape) and shape != sizes:
        raise ConfigError(f"train.track.reference: {path} has scores of {shape} layers and heads, {name} has {sizes}")


def refuse_other_projections(train: TrainConfig, known: set[str], name: str) -> None:
    wanted = [target for target in (*train.targets, *train.ranks) if target not in GROUPS]
    if missing := [target for target in wanted if target not in known]:
        key = "targets" if missing[0] in train.targets else "ranks"
        raise ConfigError(
            f"train.{key}: the layers of {name} have no {missing[0]}; there are {', '.join(sorted(known))}"
        )
    if train.heads is not None and "attention" in train.targets and "q_proj" not in known:
        raise ConfigError(
            f"train.heads: expected projections apart for queries, keys and values, and {name} has "
            f"{', '.join(sorted(known))}; leave heads out"
        )


def names_in(folder: Path) -> set[str]:
    """Last parts of the names of products inside layers, from the headers of a folder's files; none where none is."""
    index = folder / INDEX_FILE
    if index.is_file():
        found = read_json(index)
        names = found.get("weight_map", {}) if isinstance(found, dict) else {}
    else:
        names = [name for path in sorted(folder.glob("*.safetensors")) for name in header_of(path)]
    return {match[1] for name in names if (match := OF_LAYER.search(name)) and "norm" not in match[1]}


def header_of(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors; nothing where it is broken, which loading will tell."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_BYTES), "little")
        try:
            found = json.loads(file.read(length)) if length <= MOST_OF_A_HEADER else {}
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}
