"""What a training would refuse after its rows were built, refused before anything runs. Imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haymaker.config import TrackConfig, TrainConfig
from haymaker.errors import ConfigError
from haymaker.heads.formats import HeadList, KVScores, read_scores
from haymaker.models.adapted import ATTENTION_NAMES, GROUPS, TOO_HIGH, UNUSED
from haymaker.models.headers import tensors_in
from haymaker.processes import launched
from haymaker.records import Head
from haymaker.study.config import StudyConfig
from haymaker.training.trackers import check_tracker

OF_LAYER = re.compile(r"\.\d+\.(?:(\w+)\.)?(?:.*\.)?(\w+)\.weight$")  # its part of the layer, and its name
SIDES = 2  # of a matrix
AS_IN_THE_FILE = (  # model types whose layers bear the names that their files have
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "gpt2", "gpt_neox", "opt",
    "bloom", "falcon", "olmo", "olmo2", "olmo3", "smollm3", "starcoder2", "stablelm", "granite", "cohere",
    "glm", "glm4",
)  # fmt: skip
SIZES = (("num_hidden_layers", "n_layer"), ("num_attention_heads", "n_head"))


@dataclass(frozen=True)
class Product:
    """A product inside layers: its group, and its smaller side; None where its file does not say it."""

    group: str
    side: int | None


def sizes_of(about: dict[str, Any]) -> tuple[int, int] | None:
    """Layers and heads of a config; None where it does not say them."""
    found = [value for keys in SIZES for key in keys if isinstance(value := about.get(key), int)]
    return (found[0], found[1]) if len(found) == len(SIZES) else None


def refuse_other_training(config: StudyConfig, about: dict[str, Any], place: Path | None) -> None:
    """Raises ConfigError for layers, heads and projections that the model of this config and folder does not have, for
    a track that could not be compared, a tracker that is not installed, and several processes of a launcher."""
    train = config.train
    if launched() > 1:  # each would wait in its own cell for the others
        raise ConfigError(
            f"a launcher started {launched()} processes (WORLD_SIZE), and a study trains each adapter in one: start "
            "`haymaker study` by itself, its runner starts the workers"
        )
    if train.context_parallel > 1:
        raise ConfigError(
            f"train.context_parallel: a study trains each adapter in one process, found {train.context_parallel}; give "
            "1, or start `haymaker train` with torchrun"
        )
    if train.shard:
        raise ConfigError(
            "train.shard: a study trains each adapter in one process, which has all weights; leave it out"
        )
    check_tracker(train.tracker)
    sizes = sizes_of(about)
    if sizes is not None:
        refuse_other_layers(train, sizes, config.model_name)
    refuse_other_track(train.track, sizes, config.model_name)
    known = products_in(place) if place is not None and about.get("model_type") in AS_IN_THE_FILE else {}
    if known:
        refuse_other_projections(train, set(known), config.model_name)
        refuse_other_ranks(train, known, config.model_name)


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


def refuse_other_ranks(train: TrainConfig, known: Mapping[str, Product], name: str) -> None:
    """Raises ConfigError for a rank of what is not adapted, and for one above the smaller side of a product."""
    adapted = {key: of for key, of in known.items() if of.group in train.targets or key in train.targets}
    if unused := [key for key in train.ranks if key not in adapted]:
        raise ConfigError(f"train.{UNUSED.format(unused[0], ', '.join(sorted(adapted)))}")
    for key, product in adapted.items():
        rank = train.ranks.get(key, train.rank)
        if product.side is not None and rank > product.side:
            raise ConfigError(f"train.{TOO_HIGH.format(f'{key} of {name}', product.side, rank, key)}")


def products_in(folder: Path) -> dict[str, Product]:
    """The products inside layers by the last part of their names, from the headers of a folder's files."""
    found: dict[str, Product] = {}
    for name, about in tensors_in(folder).items():
        match = OF_LAYER.search(name)
        if match is None or "norm" in match[2]:
            continue
        plain = "F" in str(about.get("dtype")) and len(about.get("shape", ())) == SIDES  # codes may be packed
        sides = [min(about["shape"])] if plain else []
        sides += [side for side in (found[match[2]].side,) if side is not None] if match[2] in found else []
        group = "attention" if match[1] in ATTENTION_NAMES else "mlp"
        found[match[2]] = Product(group, max(sides, default=None))
    return found
