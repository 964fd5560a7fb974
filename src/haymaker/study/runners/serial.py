"""In this process, one cell after the other."""

import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from haymaker.processes import environment, threads_of
from haymaker.study.runners.work import Outcome, Work, perform


class SerialRunner:
    """One cell after the other in this process, so that loaded models serve the next cell.

    `threads` None leaves the number of threads as it is.
    """

    slots = 1

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads

    def submit(self, work: Work) -> "Future[Outcome]":
        """Do the work now; the future is done when this returns."""
        future: Future[Outcome] = Future()
        with computing_with(self.threads):
            future.set_result(perform(work))
        return future


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """This process computes with so many threads in the block, whether it has loaded torch yet or not."""
    if threads is None:
        yield
        return
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with environment(threads_of(threads)):
        if torch:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)
