"""Processes that are killed in the middle of a command or a training, and those that others here are forked from."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from tiny_rows import random_rows

import haymaker.files as files
from haymaker.cli import app
from haymaker.config import TrainConfig
from haymaker.models.load import load_model
from haymaker.study import stages
from haymaker.training.loop import train


def forking() -> ForkServerContext:
    """Forks processes of a server that has imported all of this once (five seconds) and started no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["no_sync", "two_processes", "killed"])
    # before Python 3.13 the server knows no path but this variable's, and passes over what it does not find
    with patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}):
        forkserver.ensure_running()
    return context


def begun(function: Callable[..., Any], *arguments: Any) -> Any:
    """A process that runs the function with one thread."""
    process = forking().Process(target=function, args=arguments)
    process.start()
    return process


def end_of(function: Callable[..., Any], *arguments: Any) -> int | None:
    """The exit code of a process that runs the function."""
    process = begun(function, *arguments)
    process.join(timeout=100)
    process.kill()
    return process.exitcode


def command_killed(rows: int, threads: int, words: list[str]) -> None:
    """The command, killed behind so many rows."""
    left = rows

    def advance(done: int) -> None:
        nonlocal left
        left -= done
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def bar(what: str, total: int, about: str = "") -> Iterator[Callable[[int], None]]:
        yield advance

    torch.set_num_threads(threads)
    stages.bar = bar  # type: ignore[assignment]
    app(words)


def training_killed(model: Path, out: Path, config: TrainConfig, threads: int) -> None:
    """A training, killed where its second state is written and has not got its name."""
    replace, calls = os.replace, []

    def fatal(source: str, target: str) -> None:
        if str(target).endswith("state.safetensors"):
            calls.append(target)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    torch.set_num_threads(threads)
    files.os.replace = fatal  # type: ignore[assignment]
    train(load_model(model, dtype="float32"), random_rows(4), config, out, on_progress=lambda steps: None)
