"""Heads that somebody chose: by their names, `18-6,17-3`, or by a file in any format, as scores of a model's heads."""

import re
from os.path import exists
from pathlib import Path
from typing import Any

from haymaker.errors import ConfigError, DataError
from haymaker.heads.formats import HeadList, KVScores, ScoreFile, read_scores
from haymaker.heads.scores import HeadScores
from haymaker.records import Head

NAMES = re.compile(r"\s*\d+-\d+(\s*,\s*\d+-\d+)*\s*")
LISTED = "list"  # the metric of heads that have an order and no scores


def names_heads(told: str | Path) -> bool:
    """Whether heads are named one by one; a file of such a name is a file."""
    return NAMES.fullmatch(str(told)) is not None and not exists(told)


def told_heads(told: str | Path) -> ScoreFile:
    """The heads that are named, or what a file holds. Raises as `chosen_heads` does, but for a model's shape."""
    if names_heads(told):
        return listed(str(told))
    if not exists(told):
        raise DataError(
            f"{told}: no such file of head scores; heads by name are written 18-6,17-3 (layer-head, from 0)"
        )
    return read_scores(told)


def map_shape(config: Any) -> tuple[int, int]:
    """Layers and query heads a layer, the most where they differ, of a decoder with this config."""
    heads = config.num_attention_heads
    return config.num_hidden_layers, heads if isinstance(heads, int) else max(heads)


def chosen_heads(told: str | Path, config: Any) -> HeadScores:
    """Scores of the heads of a model with this config, from names or a file; of a list the first is the best.

    Raises ConfigError for a head named twice, DataError for a file that is broken or of a model of another shape.
    """
    layers, heads = map_shape(config)
    found = told_heads(told)
    if isinstance(found, HeadList):
        return found.as_scores(layers, heads)
    scores = found.to_heads(heads) if isinstance(found, KVScores) else found
    if scores.mean.shape != (layers, heads):
        raise DataError(f"{told}: scores of {scores.mean.shape} (layers, heads), and the model has {(layers, heads)}")
    return scores


def listed(told: str) -> HeadList:
    heads = tuple(Head.parse(name.strip()) for name in told.split(","))
    if len(set(heads)) < len(heads):
        raise ConfigError(f"{told}: a head stands twice; name each once")
    return HeadList(heads)


def sizes_of(scores: HeadScores, sizes: tuple[int, ...], asked: bool = False) -> tuple[int, ...]:
    """Sizes of sets to take from scores; of heads that were listed none beyond them, and, unless asked, all.

    Raises ConfigError where more are asked for than are listed.
    """
    if scores.metric != LISTED:
        return sizes
    count = int((scores.mean > 0).sum())
    if asked and max(sizes) > count:
        raise ConfigError(f"k: {max(sizes)} heads are asked for, and {count} are listed; list more, or ask for fewer")
    return sizes if asked else (*(size for size in sizes if size < count), count)
