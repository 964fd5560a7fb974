"""A build that is stopped or killed at any moment ends, once the same command has finished it, in the same bytes."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from killed import forking
from real_rows import contents
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.config import Recipe
from haymaker.data import parallel
from haymaker.data.dataset import Folder
from haymaker.data.parallel import build_folder
from haymaker.errors import DataError, Interrupted

ROWS = 20  # three parts
ROWS_PER_PART = 8


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "MOST_ROWS_PER_PART", ROWS_PER_PART)
        yield


def recipe(**changes: Any) -> Recipe:
    return Recipe(**({"task": "mdqa", "setting": "low-low", "length": 64, "rows": ROWS} | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """What an uninterrupted build gives."""
    return build_folder(recipe(), tokenizer, tmp_path_factory.mktemp("whole") / "data").path


# ---- Ctrl-C


def stop_after(count: int) -> Callable[[int], None]:
    """A progress callback that interrupts, as Ctrl-C would, when `count` rows are done."""
    done = 0

    def progress(rows: int) -> None:
        nonlocal done
        done += rows
        if done >= count:
            raise KeyboardInterrupt

    return progress


def test_ctrl_c_keeps_what_is_done(whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    out, seen = tmp_path / "data", []
    with pytest.raises(Interrupted, match="stopped after 16 of 20 rows; the same command goes on"):
        build_folder(recipe(), tokenizer, out, on_progress=stop_after(16))
    assert not out.exists()
    made = build_folder(recipe(), tokenizer, out, on_progress=seen.append)
    assert seen == [16, 4]
    assert contents(made.path) == contents(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_parts_of_another_recipe_are_not_used(whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        build_folder(recipe(seed=1), tokenizer, tmp_path / "data", on_progress=stop_after(16))
    assert contents(build_folder(recipe(), tokenizer, tmp_path / "data").path) == contents(whole)


# ---- kill -9


DEADLY = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def build_and_die(chosen: Recipe, tokenizer: PreTrainedTokenizerBase, out: Path, last: int) -> Folder:
    """Build, and die without a word before file operation number `last` that touches the output."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in DEADLY and str(out.parent) in str(arguments[0]):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return build_folder(chosen, tokenizer, out)


def forked(work: Callable[..., Any], *arguments: Any) -> int:
    """Do some work in a process of its own; the exit code."""
    pid = os.fork()
    if not pid:
        os._exit(0 if work(*arguments) is not None else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_everywhere(chosen: Recipe, tokenizer: PreTrainedTokenizerBase, home: Path, whole: Path) -> None:
    """Kill a build at its first file operation, another at its third, and so on; finish each, and compare."""
    expected, parallel.MOST_ROWS_PER_PART = contents(whole), ROWS_PER_PART
    hm.build(chosen.changed(rows=1), tokenizer)  # what is imported late is imported once
    for last in count(1, 2):
        out = home / str(last) / "data"
        code = forked(build_and_die, chosen, tokenizer, out, last)
        if code == 0:  # it has fewer operations
            (home / "killed").write_text(str(last // 2))
            return
        assert code == -signal.SIGKILL
        assert not out.exists() or contents(out) == expected
        assert forked(build_folder, chosen, tokenizer, out) == 0
        assert contents(out) == expected
        assert [path.name for path in out.parent.iterdir()] == ["data"]


def test_a_build_killed_at_any_file_operation_ends_the_same(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = recipe(rows=ROWS_PER_PART + 1)  # two parts
    whole = build_folder(chosen, tokenizer, tmp_path / "whole" / "data").path
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # a tokenizer's threads do not survive a fork
    process = forking().Process(target=kill_everywhere, args=(chosen, tokenizer, tmp_path, whole))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert int((tmp_path / "killed").read_text()) > 10


def build_in_parts(tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    parallel.MOST_ROWS_PER_PART = ROWS_PER_PART
    build_folder(recipe(), tokenizer, out)


def test_a_build_killed_at_random_moments_ends_the_same(
    whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    began = time.perf_counter()
    build_folder(recipe(), tokenizer, tmp_path / "data")
    seconds = time.perf_counter() - began
    for share in (0.2, 0.5, 0.8):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        process = forking().Process(target=build_in_parts, args=(tokenizer, tmp_path / "data"))
        process.start()
        process.join(share * seconds)
        process.kill()
        process.join()
        assert contents(build_folder(recipe(), tokenizer, tmp_path / "data").path) == contents(whole)


def test_a_second_build_of_the_same_folder_is_refused(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    def build_again(rows: int) -> None:
        with pytest.raises(DataError, match="another build of it is running"):
            build_folder(recipe(), tokenizer, tmp_path / "data")

    assert len(build_folder(recipe(), tokenizer, tmp_path / "data", on_progress=build_again)) == ROWS
