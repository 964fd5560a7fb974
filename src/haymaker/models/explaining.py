"""What transformers raises and draws, as a command's user is to see it."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from haymaker.errors import HaymakerError, ModelError, is_failure

TELLING = (OSError, ValueError, ImportError, RuntimeError, TypeError, SafetensorError)  # their texts say what it was


@contextmanager
def without_bars() -> Iterator[None]:
    """Hold back transformers' progress bars: commands have their own, which --quiet takes away."""
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Turn transformers' errors into one sentence, and hold back its progress bars."""
    try:
        with without_bars():
            yield
    except HaymakerError:
        raise
    except BaseException as error:  # of any type: what a file says may go wrong in any line of theirs
        if not is_failure(error):
            raise
        reason = " ".join(str(error).split())[:300]
        if not isinstance(error, TELLING):
            reason = f"{type(error).__name__}: {reason}"
        if "ignore_mismatched_sizes" in reason:  # which speaks of a report that nobody sees here
            reason = "tensors have other shapes than its config gives them"
        raise ModelError(f"{name}: cannot load its {what}: {reason}") from error
