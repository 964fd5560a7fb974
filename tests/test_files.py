"""Files that appear whole or not at all, and locks that end with their holder."""

import errno
import gzip
import json
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
from haymaker.errors import ConfigError, DataError, OutputError
from haymaker.records import Span


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- whole or not at all


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
    assert [path.name for path in taken[:4]] == ["text", "one", "two", "folder"]
    assert {(tmp_path / name).stat().st_ino for name in ("text", "files/two", "folder/inner/one", "folder")} <= synced


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


# ---- JSON


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value, rows = {"b": [1, None, "ä"], "a": {"c": 0.1}}, [{"x": 1}, {"y": "zwei\n"}]
    files.write_json(tmp_path / "value.json", value)
    files.write_jsonl(tmp_path / "rows.jsonl", rows)
    assert files.read_json(tmp_path / "value.json") == value
    assert [row for _, row in files.read_jsonl(tmp_path / "rows.jsonl")] == rows
    zipped = tmp_path / "plain name"
    zipped.write_bytes(gzip.compress(json.dumps(value).encode()))
    assert files.read_json(zipped) == value


def test_a_number_that_json_does_not_know_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "value.json", {"score": float("nan")})
    assert not names(tmp_path)


def test_a_broken_file_says_what_to_do_and_a_missing_one_is_told_or_none(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    assert files.read_json_if_there(path, "build it again") is None
    with pytest.raises(DataError, match=r"value\.json: cannot be read"):
        files.read_json(path)
    path.write_text("{")
    for read in (files.read_json, files.read_json_if_there):
        with pytest.raises(DataError, match=r"value\.json: not JSON \(.*\); build it again"):
            read(path, "build it again")


# ---- digests


def test_a_folder_s_digest_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    for home in ("one", "other"):
        for name in ("b", "a") if home == "one" else ("a", "b"):
            files.write_text(tmp_path / home / "deep" / name, name)
    files.write_text(tmp_path / "other" / "clock.txt", "now")
    one = files.folder_digest(tmp_path / "one")
    assert files.folder_digest(tmp_path / "other", volatile=("clock.*",)) == one
    assert files.folder_digest(tmp_path / "other") != one
    (tmp_path / "one" / "deep" / "a").rename(tmp_path / "one" / "deep" / "c")
    assert files.folder_digest(tmp_path / "one") != one


# ---- locks


BUSY = ConfigError("somebody else is at it")


def hold(path: Path, ready: Any) -> None:
    lock = files.take_lock(path, BUSY)
    assert lock.is_locked
    ready.set()
    signal.pause()


def test_a_lock_is_exclusive_and_ends_with_a_killed_holder(tmp_path: Path) -> None:
    path, context = tmp_path / "folder" / "lock", multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(path, ready), daemon=True)
    holder.start()
    assert ready.wait(30)
    with pytest.raises(ConfigError, match="somebody else"):
        files.take_lock(path, BUSY)
    holder.kill()
    holder.join()
    files.drop_lock(files.take_lock(path, BUSY))


def test_a_lock_is_exclusive_in_one_process_and_leaves_no_file(tmp_path: Path) -> None:
    lock = files.take_lock(tmp_path / "lock", BUSY)
    with pytest.raises(ConfigError):
        files.take_lock(tmp_path / "lock", BUSY)
    files.drop_lock(lock)
    assert not names(tmp_path)
    files.drop_lock(files.take_lock(tmp_path / "lock", BUSY))


# ---- what is too much, or no text


def test_too_long_a_line_and_too_large_a_file_are_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 100 + '"}\n')
    monkeypatch.setattr(files, "MOST_AT_ONCE", 50)
    with pytest.raises(DataError, match="line 2 has more than 50 characters, too many to read"):
        list(files.read_jsonl(path))
    path.write_text('{"a": 1}\n' * 10)
    with pytest.raises(DataError, match="more than 20 characters"):
        list(files.read_text(path, 20))
    with pytest.raises(DataError, match="more than 50 characters"):
        files.read_json(path)


def test_half_a_letter_is_named_with_its_place(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00"}\n{"a": ["b\\ud800"]}\n')
    rows = files.read_jsonl(path)
    assert next(rows)[1] == {"a": "\U0001f600"}
    with pytest.raises(DataError, match=r"line 2: \\ud800 alone is half of a letter"):
        next(rows)
    path.write_text('"\\uDC00"')
    with pytest.raises(DataError, match=r"\\udc00 alone"):
        files.read_json(path)


READERS = [files.read_json, files.read_bytes, files.file_digest, lambda path: list(files.read_text(path))]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("place", ["/dev/zero", "a pipe"])
def test_what_has_no_end_or_is_gone_once_read_is_refused(
    read: Callable[[Path], Any], place: str, tmp_path: Path
) -> None:
    if place == "a pipe":
        place = str(tmp_path / "pipe")
        os.mkfifo(place)
    with pytest.raises(DataError, match="expected a file, found a pipe or a device"):
        read(Path(place))


def test_a_file_is_read_whole_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0" * 9)
    assert files.read_bytes(tmp_path / "file", most=9) == b"\0" * 9
    with pytest.raises(DataError, match="9 bytes, too many to read; expected at most 8"):
        files.read_bytes(tmp_path / "file", most=8)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_text_in_another_encoding_is_never_read_as_if_it_were_utf8(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("The sea was calm.\n".encode(encoding))
    with pytest.raises(DataError, match="save the file as UTF-8"):
        list(files.read_text(tmp_path / "a.txt"))


@pytest.mark.parametrize("text", ["", " \n\n", "\ufeff"])
def test_an_empty_file_of_json_is_told_as_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="the file is empty; fetch the file again"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"start": 1}, "row 3: no 'stop' here; found start"),
        ({}, "row 3: no 'start', 'stop' here; found nothing"),
        ({"start": 1, "stop": 2, "end": 3}, "row 3: 'end' is not known here; known are start, stop"),
    ],
)
def test_a_row_has_the_fields_of_what_is_made_of_it_and_no_others(row: dict[str, int], said: str) -> None:
    with pytest.raises(DataError, match=f"^{said}$"):
        files.only_fields(row, Span, "row 3")
    files.only_fields({"start": 1, "stop": 2}, Span, "row 3")
