"""RULER's string matches (Hsieh et al. 2024)."""

import re
from collections.abc import Sequence
from statistics import fmean

from haymaker.metrics.shared import RowMetric, best, named
from haymaker.metrics.subspan import holds_literally

_CONTROL = re.compile(r"[\x00-\x1f]")


def ruler_all(prediction: str, golds: Sequence[str]) -> float:
    """Share of golds in the prediction, letter case aside, repeats counted.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        RULER (Hsieh et al. 2024), string_match_all.

    Examples:
        >>> hm.metrics.ruler_all("12 and 34", ["12", "56"])
        0.5
    """
    best(holds_literally, prediction, golds)  # refuses what no row metric can score
    return fmean(holds_literally(_ruler_text(prediction), gold) for gold in golds)


def ruler_part(prediction: str, golds: Sequence[str]) -> float:
    """1 if any gold is in the prediction, letter case aside, else 0.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        RULER (Hsieh et al. 2024), string_match_part.

    Examples:
        >>> hm.metrics.ruler_part("12 and 34", ["12", "56"])
        1.0
    """
    return best(holds_literally, prediction, golds, prepare=_ruler_text)


def ruler(prediction: str, golds: Sequence[str], *, task: str) -> float:
    """The row's score under the rule of a RULER task: any gold for qa, the share elsewhere.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.
        task: The task's name, as niah_single_1, vt or qa_2.

    Returns:
        The row's score, 0 to 1.

    Raises:
        ConfigError: An unknown task.
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        RULER (Hsieh et al. 2024).

    Examples:
        >>> hm.metrics.ruler("12 and 34", ["12", "56"], task="niah_multikey_1")
        0.5
    """
    rules: dict[str, RowMetric] = dict.fromkeys(("niah", "vt", "cwe", "fwe"), ruler_all) | {"qa": ruler_part}
    return named(rules, task.partition("_")[0], f"family of RULER task {task!r}")(prediction, golds)


def _ruler_text(prediction: str) -> str:
    # RULER's own clean-up: a tab in the answer becomes a line break and so splits "New York".
    return _CONTROL.sub("\n", prediction.strip()).strip()
