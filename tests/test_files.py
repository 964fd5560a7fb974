"""Files and folders that appear whole or not at all."""

import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from haymaker import files
from haymaker.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FOLDERS: list[Callable[[Path], AbstractContextManager[Path]]] = [files.whole_files, files.whole_folder]


@pytest.mark.parametrize("whole", FOLDERS)
def test_what_fails_halfway_leaves_the_old_and_nothing_else(
    whole: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path
) -> None:
    folder = tmp_path / "above" / "folder"
    with whole(folder) as scratch:
        (scratch / "content").write_text("old")
    with pytest.raises(ZeroDivisionError), whole(folder) as scratch:  # noqa: PT012
        (scratch / "content").write_text("half")
        raise ZeroDivisionError
    assert (folder / "content").read_text() == "old"
    assert (names(folder.parent), names(folder)) == (["folder"], ["content"])


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("last", [1, 2, 3])
def test_an_interrupt_between_two_names_leaves_one_folder(
    last: int, behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before or behind the first, second ... rename that puts a folder in the place of an old one."""
    with files.whole_folder(tmp_path / "folder") as scratch:
        (scratch / "content").write_text("old")
    calls, replace = [], os.replace

    def interrupted(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == last and not behind:
            raise KeyboardInterrupt
        replace(source, target)
        if len(calls) == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with suppress(KeyboardInterrupt), files.whole_folder(tmp_path / "folder") as scratch:
        (scratch / "content").write_text("new")
    assert names(tmp_path) == ["folder"]
    assert (tmp_path / "folder" / "content").read_text() == ("new" if (last, behind) > (2, False) else "old")


def test_a_file_that_fails_halfway_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "above" / "file"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.whole_file(path) as scratch:  # noqa: PT012
        scratch.write_text("half")
        raise ZeroDivisionError
    assert (path.read_text(), names(path.parent)) == ("old", ["file"])


@pytest.mark.parametrize("write", [files.whole_file, files.whole_files, files.whole_folder, files.check_writable])
def test_a_sign_of_home_that_no_shell_has_read_makes_no_folder(
    write: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    refused = pytest.raises(OutputError, match=rf"~/rows: no shell .* write {tmp_path}/home/rows")
    with refused, write(Path("~/rows")) or nullcontext():
        pass
    assert not names(tmp_path)
    for there in ("a~/rows", "~nobody-of-this-name/rows"):  # names like others
        files.write_text(Path(there), "row")
    Path("~").mkdir()
    files.write_text(Path("~/rows"), "row")  # who has such a folder means it
    assert len(names(tmp_path)) == 3


@pytest.mark.parametrize("whole", FOLDERS)
@pytest.mark.parametrize("read", [None, "weights"], ids=["written", "copied"])
def test_a_full_disk_names_what_should_have_been_there(
    whole: Callable[[Path], AbstractContextManager[Path]], read: str | None, tmp_path: Path
) -> None:
    """Neither the scratch file, which is gone by then, nor the file that was copied."""
    folder = tmp_path / "folder"
    with pytest.raises(OutputError) as refused, whole(folder) as scratch, files.whole_file(scratch / "page") as page:  # noqa: PT012
        names = (None,) if read is None else (str(tmp_path / read), None, str(page))
        raise OSError(errno.ENOSPC, "No space left on device", *names)
    assert str(refused.value).startswith(f"{folder / 'page'}: cannot be written (No space left on device)")


def test_a_folder_takes_the_place_of_the_old_one_and_files_come_beside_it(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with files.whole_folder(tmp_path / "replaced") as scratch:
            (scratch / name).write_text(name)
        with files.whole_files(tmp_path / "filled") as scratch:
            (scratch / name).write_text(name)
    assert (names(tmp_path / "replaced"), names(tmp_path / "filled")) == (["new"], ["new", "old"])
    assert names(tmp_path) == ["filled", "replaced"]


def test_the_first_to_give_a_folder_its_name_wins(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    assert files.name_folder(tmp_path / "first", tmp_path / "cells" / "key")
    assert not files.name_folder(tmp_path / "second", tmp_path / "cells" / "key")
    assert (tmp_path / "cells" / "key" / "file").read_text() == "first"
    assert (tmp_path / "second" / "file").exists()
    files.remove_whole(tmp_path / "cells" / "key", tmp_path / "doomed")
    assert names(tmp_path) == ["cells", "second"]


def test_what_is_written_is_on_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a name stands for whole contents: of every file, and of the folder that holds them."""
    synced: set[int] = set()
    taken: list[Path] = []
    replace = os.replace

    def named(source: Path, target: Path) -> None:
        taken.append(Path(target))
        inside = [Path(source), *Path(source).rglob("*")]
        assert {path.stat().st_ino for path in inside} <= synced
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(files.os, "replace", named)
    files.write_text(tmp_path / "text", "a")
    with files.whole_files(tmp_path / "files") as scratch:
        (scratch / "one").write_text("a")
        (scratch / "two").write_text("b")
    for _ in range(2):  # the second time one stands there
        with files.whole_folder(tmp_path / "folder") as scratch:
            (scratch / "inner").mkdir()
            (scratch / "inner" / "one").write_text("a")
    files.draft_json(tmp_path / "draft" / "manifest.json", {})
    assert files.name_folder(tmp_path / "draft", tmp_path / "cells" / "key")
    assert [path.name for path in taken[:4]] == ["text", "one", "two", "folder"]
    assert taken[-1].name == "key"
    assert {
        (tmp_path / name).stat().st_ino for name in ("text", "files/two", "folder/inner/one", "folder", "cells")
    } <= synced


@pytest.mark.parametrize("last", range(1, 6))
def test_a_kill_leaves_a_file_old_or_new(tmp_path: Path, last: int) -> None:
    """Killed before its first, second ... file operation, the write leaves one of the two texts, whole."""
    path = tmp_path / "file"
    files.write_text(path, "old")
    process = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(path, last))
    process.start()
    process.join()
    assert path.read_text() in ("old", "new" * 10_000)
    assert path.read_text() == "old" or process.exitcode == 0 or last > 2
    files.write_text(path, "newer")
    assert path.read_text() == "newer"


def write_and_die(path: Path, last: int) -> None:
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove") and str(path.parent) in str(arguments[0]):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    files.write_text(path, "new" * 10_000)


def test_a_number_that_json_does_not_know_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "value.json", {"score": float("nan")})
    assert not names(tmp_path)
