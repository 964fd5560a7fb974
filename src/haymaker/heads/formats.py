"""Score files of others, read and written: Wu et al.'s JSON, QRHead's YAML of heads, DuoAttention's TSV of KV heads.

They differ in what they hold, and so do the types: scores of every trial (HeadScores), an order of heads without
scores (HeadList), scores of key-value heads (KVScores). `read_scores` tells files apart by their content.
"""

import io
import json
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import yaml
from jaxtyping import Float
from numpy import ndarray

from haymaker.errors import ConfigError, DataError
from haymaker.file_reading import MOST_AT_ONCE, read_bytes, refuse_what_is_no_file
from haymaker.files import write_text
from haymaker.heads.scores import HeadScores, check_count
from haymaker.heads.splits import CSV_START, SPLIT_MARK, csv_text, from_csv, split_text
from haymaker.notation import parse_yaml
from haymaker.records import Head

Rule = Literal["max", "mean"]
FORMATS = ("wu", "qrhead", "duo", "csv", "split")
OWN_FORMAT = "haymaker"
QRHEAD_KEY = "attn_head_set"
ABOUT_MARK = '"provenance_hash"'  # of what `HeadScores.save` writes beside scores


class KVHead(NamedTuple):
    """A key-value head, layer and head counted from 0, which several query heads share; prints as `kv 16-2`."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"kv {self.layer}-{self.head}"


@dataclass(frozen=True, eq=False)
class KVScores:
    """One score per key-value head [layer, KV head], such as DuoAttention's gates, near 1 for heads that retrieve.

    Raises DataError where there is no head, or one without a number.
    """

    values: Float[ndarray, "layer kv_head"]
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size or not np.isfinite(self.values).all():
            raise DataError(
                f"scores of KV heads are numbers [layer, KV head], at least one: found the shape {self.values.shape} "
                f"with {int((~np.isfinite(self.values)).sum())} that are not finite"
            )

    def top(self, k: int) -> list[KVHead]:
        """The k KV heads with the highest scores; ties go to the lower layer and head."""
        check_count(k, "KV heads")
        order = np.argsort(-self.values.ravel(), kind="stable")[:k]
        return [KVHead(*divmod(int(i), self.values.shape[1])) for i in order]

    @classmethod
    def from_heads(cls, scores: HeadScores, kv_heads: int, rule: Rule = "max") -> "KVScores":
        """Of each KV head the `rule` over the means of the query heads that share it. Raises DataError where the
        query heads cannot be grouped so, or one has no score."""
        layers, heads = scores.mean.shape
        if kv_heads < 1 or heads % kv_heads:
            raise DataError(f"{heads} query heads cannot share {kv_heads} KV heads: expected a divisor of {heads}")
        if np.isnan(scores.mean).any():
            raise DataError(
                f"{scores.metric}: {int(np.isnan(scores.mean).sum())} query heads have no score, so their KV heads "
                "have none; use a metric or rows in which every head sees the needle"
            )
        grouped = scores.mean.reshape(layers, kv_heads, heads // kv_heads).astype(np.float64)
        about = {"metric": scores.metric, "rule": rule, "provenance_hash": scores.provenance_hash}
        return cls(grouped.max(axis=2) if rule == "max" else grouped.mean(axis=2), about)

    def to_heads(self, heads: int) -> HeadScores:
        """Each query head with the score of its group's KV head."""
        if heads < 1 or heads % self.values.shape[1]:
            raise DataError(f"{heads} query heads cannot share {self.values.shape[1]} KV heads")
        spread = np.repeat(self.values, heads // self.values.shape[1], axis=1)
        return HeadScores(spread[None], ("kv",), str(self.about.get("metric", "kv")), self.about)


@dataclass(frozen=True)
class HeadList:
    """Query heads in order, best first, without scores; `about` holds what else the file says.

    Raises DataError for no head, and for one that stands twice.
    """

    heads: tuple[Head, ...]
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.heads or len(set(self.heads)) != len(self.heads):
            found = "one that stands twice" if self.heads else "none"
            raise DataError(f"a list of heads holds each once, and at least one: found {found}")

    @property
    def shape(self) -> tuple[int, int]:
        """The smallest grid (layers, heads) that holds them."""
        return max(head.layer for head in self.heads) + 1, max(head.head for head in self.heads) + 1

    def as_scores(self, layers: int, heads: int) -> HeadScores:
        """The list as a score map: the i-th of n heads has (n - i) / n, others 0, so order and membership are kept."""
        if missing := [str(head) for head in self.heads if head.layer >= layers or head.head >= heads]:
            raise DataError(
                f"{', '.join(missing[:5])}: no such head; the model has {layers} layers of {heads} heads, 0-0 to "
                f"{layers - 1}-{heads - 1}"
            )
        values = np.zeros((1, layers, heads))
        for i, head in enumerate(self.heads):
            values[0, head.layer, head.head] = (len(self.heads) - i) / len(self.heads)
        return HeadScores(values, ("list",), "list", self.about)


ScoreFile = HeadScores | HeadList | KVScores


def check_format(name: str) -> None:
    """Raises ConfigError for a format that is neither Haymaker's own nor known."""
    if name not in (OWN_FORMAT, *FORMATS):
        raise ConfigError(f"unknown format {name!r} of head scores; known: {OWN_FORMAT}, {', '.join(FORMATS)}")


def rule_of(name: str) -> Rule:
    """Raises ConfigError for anything but max and mean."""
    if name == "max" or name == "mean":
        return name
    raise ConfigError(f"kv rule: expected max or mean, found {name!r}")


# --- reading --------------------------------------------------------------------------------------------------------


def read_scores(path: str | Path) -> ScoreFile:
    """Head scores in any known format: Haymaker's own, Wu JSON, QRHead YAML, DuoAttention TSV.

    Told apart by content, not by name. Scores above 1, as hits counted by the published script can be, are kept and
    told by `HeadScores.above_one`.

    Args:
        path: The file.

    Returns:
        HeadScores (Haymaker, Wu), a HeadList (QRHead, an order without scores) or KVScores (DuoAttention, scores of KV
        heads).

    Raises:
        DataError: A file that cannot be read or is none of them.

    Examples:
        >>> hm.write_scores(hm.detect_heads(lm, rows), "heads.json", "wu")
        >>> hm.read_scores("heads.json").values.shape
        (2, 4, 8)
    """
    path = Path(path)
    try:
        refuse_what_is_no_file(path)
        with open(path, "rb") as file:
            start = file.read(9)
        if start[8:] == b"{" and b"\0" in start[:8]:  # safetensors: the length of a JSON header, and the header
            return HeadScores.load(path)
        content = read_bytes(path, MOST_AT_ONCE)
    except OSError as error:
        raise DataError(f"{path}: head scores cannot be read ({error.strerror or error})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected head scores, found bytes that are no text and no safetensors") from None
    return parse_text(text, str(path))


def parse_text(text: str, where: str) -> ScoreFile:
    if text.lstrip().startswith("{"):
        return parse_wu(text, where)
    if text.startswith(CSV_START):
        return from_csv(text, where)
    if QRHEAD_KEY in text:
        return parse_qrhead(text, where)
    return parse_duo(text, where)


def parse_wu(text: str, where: str) -> HeadScores:
    """{"layer-head": [score of each trial]}; null where a trial has no score for a head."""
    if SPLIT_MARK in text:
        raise DataError(
            f"{where}: a split of KV heads in two kinds, which holds no scores; give the scores it is made of"
        )
    if ABOUT_MARK in text:
        beside = Path(where).with_suffix(".safetensors").name
        raise DataError(f"{where}: says what the scores beside it are about, and holds none; give {beside}")
    try:
        trials = json.loads(text, object_pairs_hook=trials_of, parse_constant=no_number)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f'{where}: expected {{"layer-head": [score per trial]}}, found otherwise ({error})') from None
    if not trials or not next(iter(trials.values())):
        raise DataError(f"{where}: holds no trial; the script writes none where every answer fails its ROUGE gate")
    counts = {len(row) for row in trials.values()}
    layers, heads = max(head.layer for head in trials) + 1, max(head.head for head in trials) + 1
    if len(counts) != 1 or len(trials) != layers * heads:
        raise DataError(
            f"{where}: expected {layers} x {heads} heads with as many trials each, found {len(trials)} heads with "
            f"{min(counts)} to {max(counts)} trials"
        )
    count = counts.pop()
    values = np.array([[trials[Head(layer, head)] for head in range(heads)] for layer in range(layers)])
    ids = tuple(f"trial-{i}" for i in range(count))
    return HeadScores(values.transpose(2, 0, 1), ids, "copy_wu2024", {"format": "wu", "file": Path(where).name})


def trials_of(pairs: list[tuple[str, Any]]) -> dict[Head, list[float]]:
    """Scores of every trial by head. ValueError for a head that stands twice, and for what is no number."""
    trials: dict[Head, list[float]] = {}
    for name, row in pairs:
        head = Head.parse(name)
        if head in trials:
            raise ValueError(f"head {head} stands twice")
        if not isinstance(row, list):
            raise ValueError(f"head {head} has no list of scores")
        trials[head] = [np.nan if value is None else finite(value, head) for value in row]
    return trials


def finite(value: Any, head: Head) -> float:
    if type(value) not in (int, float) or not isfinite(value):
        raise ValueError(f"head {head} has the score {value!r:.30}, which is no number")
    return float(value)


def no_number(word: str) -> Any:
    raise ValueError(f"{word} is no score; null stands for none")


def parse_qrhead(text: str, where: str) -> HeadList:
    try:
        about = dict(parse_yaml(text))
        heads = tuple(Head.parse(part.strip()) for part in str(about.pop(QRHEAD_KEY)).split(","))
        return HeadList(heads, about)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError, DataError) as error:
        raise DataError(f'{where}: expected {QRHEAD_KEY}: "16-1,13-18,...", found otherwise ({error})') from None


def parse_duo(text: str, where: str) -> KVScores:
    """A line per layer, a tab-separated score per KV head."""
    try:
        rows = [[float(value) for value in line.split("\t")] for line in text.splitlines() if line.strip()]
    except ValueError:
        rows = []
    if not rows or len({len(row) for row in rows}) != 1 or not np.isfinite(rows).all():
        raise DataError(
            f"{where}: expected head scores: safetensors of Haymaker, Wu's JSON, QRHead's YAML or DuoAttention's "
            "tab-separated numbers; found none of them"
        )
    return KVScores(np.array(rows), {"format": "duo", "file": Path(where).name})


# --- writing --------------------------------------------------------------------------------------------------------


def write_scores(
    scores: ScoreFile,
    path: str | Path,
    form: str,
    k: int = 16,
    kv_heads: int | None = None,
    *,
    rule: Rule = "max",
    fraction: float = 0.25,
) -> None:
    """Write scores in another tool's format. The file appears whole or not at all.

    Args:
        scores: What `detect_heads` or `read_scores` gave.
        path: The file.
        form: "wu", the trials that are counted, per head; "qrhead", a list of heads, of a score map the k best; "duo",
            scores of KV heads, of a score map the `rule` over the query heads of each; "split", these KV heads as those
            that retrieve and those that stream (JSON); "csv", a line per head with mean and interval.
        k: Heads of a list.
        kv_heads: KV heads of the model, for "duo" and "split".
        rule: How query heads make a KV head's score: "max" or "mean".
        fraction: Share of the KV heads that retrieve, for "split", 0 to 1.

    Returns:
        Nothing.

    Raises:
        ConfigError: Another format, or one that cannot hold such scores.
        DataError: No example is counted, or a head has no score.

    Examples:
        >>> hm.write_scores(hm.detect_heads(lm, rows), "heads.tsv", "duo", kv_heads=4)
        >>> hm.read_scores("heads.tsv").values.shape
        (4, 4)
    """
    write_text(Path(path), as_text(scores, form, k, kv_heads, rule, fraction=fraction))


def as_text(scores: ScoreFile, form: str, k: int, kv_heads: int | None, rule: Rule, *, fraction: float = 0.25) -> str:
    match form, scores:
        case "wu", HeadScores():
            return wu_text(scores)
        case "qrhead", HeadList():
            return qrhead_text(scores)
        case "qrhead", HeadScores():
            return qrhead_text(best(scores, k))
        case "duo", KVScores():
            return duo_text(scores)
        case "duo", HeadScores() if kv_heads is not None:
            return duo_text(KVScores.from_heads(scores, kv_heads, rule))
        case "split", KVScores():
            return split_text(scores.values, str(scores.about.get("metric", "kv")), fraction)
        case "split", HeadScores() if kv_heads is not None:
            return split_text(KVScores.from_heads(scores, kv_heads, rule).values, scores.metric, fraction)
        case (("duo" | "split"), HeadScores()):
            raise ConfigError(f"format {form} holds KV heads: give kv_heads, the model's num_key_value_heads")
        case "csv", HeadScores():
            return csv_text(scores)
        case (("wu" | "qrhead" | "duo" | "csv" | "split"), _):
            raise ConfigError(f"format {form} cannot hold a {type(scores).__name__}: give scores of query heads")
        case _:
            raise ConfigError(f"unknown format {form!r} of head scores; known: {', '.join(FORMATS)}")


def wu_text(scores: HeadScores) -> str:
    values = scores.values[scores.counted]
    if not len(values):
        raise DataError(f"{scores.metric}: none of the {len(scores.values)} examples is counted, so no trial to write")
    table = {
        str(Head(layer, head)): [None if np.isnan(value) else float(value) for value in values[:, layer, head]]
        for layer, head in np.ndindex(*scores.mean.shape)
    }
    return json.dumps(table, allow_nan=False)


def best(scores: HeadScores, k: int) -> HeadList:
    """The k best heads, as QRHead lists them."""
    model = str(scores.provenance.get("model", ""))
    about = {"model_base_class": model.rsplit("/", 1)[-1], "model_name_or_path": model, "metric": scores.metric}
    return HeadList(tuple(scores.top(k)), about)


def qrhead_text(listed: HeadList) -> str:
    return yaml.safe_dump({QRHEAD_KEY: ",".join(map(str, listed.heads)), **listed.about}, sort_keys=False, width=10**6)


def duo_text(scores: KVScores) -> str:
    lines = io.StringIO()
    np.savetxt(lines, scores.values, delimiter="\t")  # 19 digits: exact
    return lines.getvalue()
