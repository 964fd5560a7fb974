"""Which heads retrieve: detectors over one pass per example, teacher-forced gold or the model's own greedy answer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from haymaker.attention.chance import check_ready
from haymaker.choices import DETECTORS, plug_ins
from haymaker.console import OnProgress, told
from haymaker.errors import ConfigError, DataError, PluginError
from haymaker.heads.detectors import Detector
from haymaker.heads.direct_path import check_direct_path
from haymaker.heads.observations import Reading, Subject, Wants
from haymaker.heads.passes import read_gold, read_own
from haymaker.heads.scores import HeadScores
from haymaker.kept import Codec, read_array, written_array
from haymaker.models.answer_text import STOP
from haymaker.models.batching import batches_of, parted, refuse_long_rows
from haymaker.models.budget import budget_of, room_of
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of, tokens_that_fit
from haymaker.provenance import halved_of, kept_rows, provenance_of, tell_other_tokenizer
from haymaker.records import Encoded, Example, examples_of
from haymaker.tokens import encode_many

Answer = Literal["gold", "own"]
Maps = dict[str, np.ndarray]  # of one example, by metric
MAPS = Codec[Maps](
    lambda found: {name: written_array(values) for name, values in found.items()},
    lambda written: {name: read_array(values) for name, values in written.items()},
)


def detect_heads(
    lm: LanguageModel,
    examples: Iterable[Example],
    metric: str = "copy",
    needle: Sequence[str] | None = None,
    batch: int | None = None,
    *,
    on_progress: OnProgress | None = None,
    answer: str | None = None,
    new_tokens: int | None = None,
    stop: str | None = STOP,
    keep: str | Path | None = None,
) -> HeadScores:
    """Scores every head on every example with one pass each.

    Args:
        lm: The model.
        examples: A Dataset, or any Examples with spans.
        metric: A detector's name, as `list(hm.choices.DETECTORS)` gives them: copy, mass, write, ...
        needle: Kinds of spans to look for, in order; the first that an example has is its needle. None: the metric's
            own, for most the answer inside the evidence.
        batch: Most examples at once, as far as the free memory holds them; None: no other bound. mass_calibrated takes
            them one by one. Where memory runs out all the same, batches are halved, once, and `provenance["halved"]`
            names their examples.
        on_progress: Called with the number of examples finished since its last call.
        answer: "gold" reads the target answer, teacher-forced in one forward; "own" reads the model's greedy answer
            while it is generated. None: gold, but own for copy_wu2024.
        new_tokens: Most tokens of the model's own answer; None: the room that the rows were built with, else 64.
        stop: A text that ends the model's own answer, once there is an answer before it; None: only its own end does.
        keep: A file in which rows are kept as they are done: after a stop the same call goes on, and gives the same.
            It is left when the call ends well, for the caller to remove.

    Returns:
        Scores [example, layer, head], 0 to 1 for most metrics; NaN where a head cannot see the needle, or the example
        does not count. Means leave them out.

    Raises:
        ConfigError: An unknown metric or answer.
        DataError: No example, or one without a needle.
        LengthError: An example longer than the model's context.
        ProbeError: A model that cannot be read, or that `write` cannot read.
        ModelError: A model in train mode, or attention that is not finite.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Source:
        copy: Wu et al. 2024 (arXiv 2404.15574), eq. 1, as in Zhao et al. 2025 (arXiv 2410.22316); write: Gema et al.
        2026 (arXiv 2607.01002). All are defined on the page on heads.

    Examples:
        >>> scores = hm.detect_heads(lm, rows, metric="copy")
        >>> scores.values.shape, len(scores.top(3))
        ((2, 4, 8), 3)
    """
    options: dict[str, Any] = {"answer": answer, "new_tokens": new_tokens, "stop": stop, "keep": keep}
    return detect_all(lm, examples, (metric,), needle, batch, on_progress=on_progress, **options)[metric]


def detect_all(
    lm: LanguageModel,
    examples: Iterable[Example],
    metrics: Sequence[str],
    needle: Sequence[str] | None = None,
    batch: int | None = None,
    *,
    on_progress: OnProgress | None = None,
    answer: str | None = None,
    new_tokens: int | None = None,
    stop: str | None = STOP,
    keep: str | Path | None = None,
) -> dict[str, HeadScores]:
    """`detect_heads` for several metrics from the same pass, by name. All read the same answers.

    Args:
        lm: The model.
        examples: A Dataset, or any Examples with spans.
        metrics: Names of detectors, see `detect_heads`.
        needle: Kinds of spans to look for, in order; None: each metric's own.
        batch: As in `detect_heads`.
        on_progress: Called with the number of examples finished since its last call.
        answer: "gold" or "own"; None: gold, but own where one of the metrics is defined on those alone.
        new_tokens: Most tokens of the model's own answer; None: the room that the rows were built with, else 64.
        stop: A text that ends the model's own answer, once there is an answer before it; None: only its own end does.
        keep: A file in which rows are kept as they are done: after a stop the same call goes on, and gives the same.
            It is left when the call ends well, for the caller to remove.

    Returns:
        The scores by metric.

    Raises:
        ConfigError: An unknown metric or answer, none at all, or metrics that do not read the same answers.
        DataError: No example, or one without a needle.
        LengthError: An example longer than the model's context.
        ProbeError: A model that cannot be read, or that `write` cannot read.
        ModelError: A model in train mode, or attention that is not finite.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Examples:
        >>> sorted(hm.detect_all(lm, rows, ("copy", "mass", "write")))
        ['copy', 'mass', 'write']
    """
    detectors = known(metrics)
    mode = answer_of(detectors, answer)
    wants = Wants.of(detectors.values(), needle)
    check_ready(lm)
    if wants.values:
        check_direct_path(lm.model)
    tell_other_tokenizer(examples, lm)
    if not (rows := examples_of(examples)):
        raise DataError("expected at least one example to score heads on, found none")
    encoded = encode_many(rows, lm.tokenizer)
    if mode == "gold":
        refuse_long_rows(encoded, lm.context)
    else:
        budget = budget_of(encoded, lm.tokenizer, lm.context, new_tokens, room_of(examples))
        wants = replace(wants, new_tokens=budget, stop=stop or None)
    subjects = [Subject.of(example, item, wants) for example, item in zip(rows, encoded, strict=True)]
    found: dict[int, Maps] = {}
    advance = told(on_progress, "examples", len(subjects))
    options = read_by(mode, wants) | judged_by(detectors, rows) | {"needle": needle and list(needle), "batch": batch}
    with kept_rows(keep, lm, encoded, MAPS, room=room_to_read(lm, subjects, wants, mode), **options) as kept:
        for chosen in batches_to_read(subjects, wants, mode, batch, kept.room):
            these = [subjects[i] for i in chosen]
            compute = partial(scored, lm, these, wants, mode, needle=needle, detectors=detectors)
            found |= zip(chosen, kept.batch([(i,) for i in chosen], compute, divisible=len(chosen) > 1), strict=True)
            advance(len(chosen))
    ids = tuple(item.example_id for item in encoded)
    origin = provenance(lm, encoded, mode, wants) | halved_of(ids, kept)
    looked_for = {name: list(needle or detector.needle) for name, detector in detectors.items()}
    return {
        name: HeadScores(
            np.stack([found[i][name] for i in range(len(ids))]),
            ids,
            name,
            origin | {"needle": kinds, "packages": plug_ins({"metric": name})},
        )
        for name, kinds in looked_for.items()
    }


def known(metrics: Sequence[str]) -> dict[str, Detector]:
    """The detectors of these names; ConfigError for one that is not known."""
    if not metrics:
        raise ConfigError("expected at least one head metric, found none")
    return {metric: DETECTORS[metric] for metric in metrics}


def answer_of(detectors: dict[str, Detector], answer: str | None) -> Answer:
    """Which answers to read, unless told: gold, but own where a detector is defined on those alone."""
    only = [name for name, detector in detectors.items() if detector.own_only]
    if answer == "own" or (answer is None and only):
        return "own"
    if answer not in (None, "gold"):
        raise ConfigError(f"answer: expected gold or own, found {answer!r}")
    if only:
        raise ConfigError(f"{only[0]} is defined on the model's own answers: use answer='own', or the metric copy")
    return "gold"


def lengths_read(subjects: Sequence[Subject], mode: Answer) -> list[int]:
    """Tokens of each subject that its pass begins with."""
    encoded = [subject.encoded for subject in subjects]
    return [len(item) if mode == "gold" else item.prompt_length for item in encoded]


def room_to_read(lm: LanguageModel, subjects: Sequence[Subject], wants: Wants, mode: Answer) -> int:
    """Tokens of a batch that the free memory holds, rows of attention that are read included."""
    answers = max(len(subject.encoded.answer_ids) for subject in subjects)
    written, read = (0, answers) if mode == "gold" else (wants.new_tokens, 1)
    return tokens_that_fit(lm.model, lengths_read(subjects, mode), written, probed=read)


def batches_to_read(
    subjects: Sequence[Subject], wants: Wants, mode: Answer, batch: int | None, room: int
) -> Iterator[list[int]]:
    """Indices of subjects of about equal length, longest first, `room` tokens at once."""
    most = 1 if wants.null else batch  # a cache is cut back for one at a time
    return batches_of(lengths_read(subjects, mode), room, most, masked=mode == "own")


def scored(
    lm: LanguageModel,
    subjects: Sequence[Subject],
    wants: Wants,
    mode: Answer,
    parts: int = 1,
    *,
    needle: Sequence[str] | None,
    detectors: dict[str, Detector],
) -> list[Maps]:
    """The scores [layer, head] of a batch by metric, from one pass of each of so many parts."""
    reader = read_gold if mode == "gold" else read_own
    readings = []
    for some in parted(subjects, parts):
        with memory_of([subject.encoded.example_id for subject in some], "lower batch, or build shorter rows"):
            readings += reader(lm, some, wants)
    return [
        {name: score(reading, detector, needle, lm) for name, detector in detectors.items()} for reading in readings
    ]


def score(reading: Reading, detector: Detector, needle: Sequence[str] | None, lm: LanguageModel) -> np.ndarray:
    """One example's scores [layer, head]. Raises PluginError where a detector gives another thing."""
    observed = reading.observation(detector, needle, lm.tokenizer)
    scores, shape = detector.score(observed), observed.mass.shape[:2]
    if not isinstance(scores, Tensor) or scores.shape != shape:
        found = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        whose = getattr(detector.score, "__module__", "unknown")
        raise PluginError(
            f"a detector of the module {whose}: expected a tensor [layer, head] of {list(shape)}, found {found}"
        )
    return scores.float().numpy()


# --- provenance -----------------------------------------------------------------------------------------------------


def provenance(lm: LanguageModel, encoded: Sequence[Encoded], answer: Answer, wants: Wants) -> dict[str, Any]:
    """What decides the numbers: the same provenance gives the same scores. Nothing is drawn at random."""
    return provenance_of(lm, encoded) | read_by(answer, wants) | {"seed": None}


def judged_by(detectors: Iterable[str], rows: Sequence[Example]) -> dict[str, Any]:
    """The detectors, with the packages they come from, and what of the rows they read beside tokens."""
    metrics = {name: plug_ins({"metric": name}) for name in detectors}
    return {"metrics": metrics, "questions": [(row.question, row.answers) for row in rows]}


def read_by(answer: Answer, wants: Wants) -> dict[str, Any]:
    """Which answers are read, and where a model's own end."""
    own = answer == "own"
    return {
        "answer": answer,
        "new_tokens": wants.new_tokens if own else None,
        "stop": wants.stop if own else None,
    }
