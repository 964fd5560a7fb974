"""Rows that are kept: what a file gives back, whose rows it holds, and what a stop leaves."""

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haymaker.console import stop_signal
from haymaker.errors import DataError, Interrupted, OutOfMemory, OutputError
from haymaker.kept import Codec, Kept, keeping, partial_of, read_array, written_array

AS_IT_IS = Codec[Any](lambda value: value, lambda value: value)
INPUTS = {"model": "a", "dataset": "b"}
BATCHES = ((0, 3), (1,), (2,))


def work(path: Path, inputs: dict[str, str] = INPUTS, stop: int = 9) -> tuple[dict[int, Any], list[int]]:
    """What three batches give, each row its square, and the rows that were computed; broken off at one of them."""
    computed: list[int] = []

    def squares(rows: Sequence[int]) -> list[int]:
        computed.extend(rows)
        if stop in rows:
            raise KeyboardInterrupt
        return [row * row for row in rows]

    found: dict[int, Any] = {}
    with keeping(path, inputs, 4, "rows", AS_IT_IS) as kept:
        for batch in BATCHES:
            done = kept.batch([(row,) for row in batch], lambda _, batch=batch: squares(batch))
            found |= zip(batch, done, strict=True)
    return found, computed


def test_what_is_done_is_not_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = partial_of(tmp_path / "out")
    assert path == tmp_path / ".out.partial"
    with pytest.raises(Interrupted, match="stopped with 3 of 4 rows done; they are kept in"):
        work(path, stop=2)
    assert work(path) == ({0: 0, 3: 9, 1: 1, 2: 4}, [2])
    assert "3 of 4 rows were done before; going on behind them" in capsys.readouterr().err
    assert work(path)[1] == []  # it is left for the caller to remove
    assert [found.name for found in tmp_path.iterdir()] == [".out.partial"]


def test_nothing_done_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped before the first of 4 rows was done"):
        work(tmp_path / "kept", stop=0)
    assert not list(tmp_path.iterdir())


def test_a_file_cut_at_any_byte_gives_the_same(tmp_path: Path) -> None:
    """A batch of which a row is missing is computed again, whole."""
    whole = work(tmp_path / "kept")[0]
    content = (tmp_path / "kept").read_bytes()
    for cut in range(len(content) + 1):
        (tmp_path / "kept").write_bytes(content[:cut] + (b"\0\0" if cut % 2 else b""))
        found, computed = work(tmp_path / "kept")
        assert found == whole
        lines = content[:cut].count(b"\n") - 1  # a row each, behind the header
        assert computed == [0, 3, 1, 2][0 if lines < 2 else lines :]
        assert work(tmp_path / "kept") == (whole, [])


def test_a_changed_byte_gives_the_same(tmp_path: Path) -> None:
    whole = work(tmp_path / "kept")[0]
    content = (tmp_path / "kept").read_bytes()
    for at in range(0, len(content), 7):
        (tmp_path / "kept").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert work(tmp_path / "kept")[0] == whole


@pytest.mark.parametrize("content", [b"", b"\n", b"[1]\n", b"\xff\xfe\n", b'{"format": 0}\n{"row": [0], "found": 5}\n'])
def test_a_file_of_something_else_is_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(content)
    assert work(tmp_path / "kept")[1] == [0, 3, 1, 2]


def test_rows_of_other_inputs_are_replaced_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work(tmp_path / "kept")
    assert work(tmp_path / "kept", INPUTS | {"dataset": "c"})[1] == [0, 3, 1, 2]
    assert "made with another dataset; they are replaced" in " ".join(capsys.readouterr().err.split())
    work(tmp_path / "kept", {"model": "a"})
    assert "made with another dataset; they" in " ".join(capsys.readouterr().err.split())


def pressed(times: int) -> list[int]:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)
    return [1]


def two_rows(path: Path, times: int) -> None:
    """Two rows; Ctrl-C is pressed so often in the first."""
    with keeping(path, {}, 2, "rows", AS_IT_IS) as kept:
        kept.batch([(0,)], lambda _: pressed(times))
        kept.batch([(1,)], lambda _: pytest.fail("computed behind a stop"))


def test_ctrl_c_stops_behind_the_rows_in_hand_and_a_second_at_once(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped with 1 of 2"):
        two_rows(tmp_path / "kept", 1)
    with pytest.raises(Interrupted, match="stopped before the first of 2"):
        two_rows(tmp_path / "none", 2)
    with keeping(tmp_path / "last", {}, 1, "rows", AS_IT_IS) as kept:  # nothing is left to stop
        assert kept.batch([(0,)], lambda _: pressed(1)) == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "last"]


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    def look() -> None:
        with stop_signal("this step"):
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]


def no_work(parts: int) -> list[Any]:
    pytest.fail(f"computed again, in {parts} parts")


def test_parts_of_the_work_have_rows_of_their_own(tmp_path: Path) -> None:
    with keeping(tmp_path / "kept", {}, 2, "answers", AS_IT_IS) as kept:
        assert [kept.under(place).batch([(0,)], lambda _, place=place: [place]) for place in (0, 1)] == [[0], [1]]
    with keeping(tmp_path / "kept", {}, 2, "answers", AS_IT_IS) as kept:
        assert [kept.under(place).batch([(0,)], no_work) for place in (0, 1)] == [[0], [1]]
    assert Kept().under(1).batch([(0,)], lambda _: ["computed"]) == ["computed"]


def halving(path: Path | None, fails: Callable[[int, tuple[int, ...]], bool], stop: int = 9) -> tuple[dict, set, list]:
    """Squares of three batches that run out of memory where `fails(parts, batch)`; the rows that were computed in
    halves, and every batch that was tried, with its parts."""
    tried: list[tuple[int, tuple[int, ...]]] = []

    def compute(batch: tuple[int, ...], parts: int) -> list[int]:
        tried.append((parts, batch))
        if stop in batch:
            raise KeyboardInterrupt
        if fails(parts, batch):
            raise OutOfMemory(f"memory ran out at {batch}; wait")
        return [row * row for row in batch]

    where = keeping(path, INPUTS, 4, "rows", AS_IT_IS, room=64) if path else nullcontext(Kept[Any]())
    found: dict[int, Any] = {}
    with where as kept:
        for batch in BATCHES:
            keys = [(row,) for row in batch]
            done = kept.batch(keys, partial(compute, batch), divisible=len(batch) > 1 or batch == (2,))
            found |= zip(batch, done, strict=True)
        return found, {row for row in range(4) if kept.was_halved(row)}, tried


@pytest.mark.parametrize("on_disk", [False, True])
def test_memory_that_runs_out_once_halves_from_there_on(
    on_disk: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Batch (1,) cannot be halved and stays whole; (2,), behind the first, begins in halves."""
    found, halved, tried = halving(
        tmp_path / "kept" if on_disk else None, lambda parts, batch: (parts, batch) == (1, (0, 3))
    )
    assert (found, halved) == ({0: 0, 3: 9, 1: 1, 2: 4}, {0, 3, 2})
    assert tried == [(1, (0, 3)), (2, (0, 3)), (1, (1,)), (2, (2,))]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("memory ran out at (0, 3); this batch and those after it are computed in halves") == 1


def test_a_run_that_was_stopped_halves_as_the_whole_one(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        halving(tmp_path / "kept", lambda parts, batch: (parts, batch) == (1, (0, 3)), stop=2)
    assert halving(tmp_path / "kept", lambda *_: False) == ({0: 0, 3: 9, 1: 1, 2: 4}, {0, 3, 2}, [(2, (2,))])


def test_halves_that_do_not_fit_either_are_an_error() -> None:
    with pytest.raises(OutOfMemory, match=r"memory ran out at \(0, 3\); wait; half of a batch did not fit either"):
        halving(None, lambda parts, batch: batch == (0, 3))
    with pytest.raises(OutOfMemory, match=r"memory ran out at \(1,\); wait$"):  # one row has no half
        halving(None, lambda parts, batch: batch == (1,))


def test_the_room_of_a_batch_is_that_of_the_first_call(tmp_path: Path) -> None:
    """Free memory is another at another time; batches are not."""
    for given, expected in ((64, 64), (8, 64)):
        with keeping(tmp_path / "kept", INPUTS, 1, "rows", AS_IT_IS, room=given) as kept:
            assert kept.room == expected
            kept.batch([(0,)], lambda _: [1])
    with keeping(tmp_path / "kept", {"model": "b"}, 1, "rows", AS_IT_IS, room=8) as kept:
        assert kept.room == 8


def test_two_processes_do_not_share_a_file(tmp_path: Path) -> None:
    with keeping(tmp_path / "kept", {}, 1, "rows", AS_IT_IS) as kept:
        kept.batch([(0,)], lambda _: [1])
        with pytest.raises(DataError, match="another process is adding rows to it"):
            work(tmp_path / "kept")


def fills_up(path: Path) -> None:
    """A batch, and another for which there is no room."""
    with keeping(path, INPUTS, 4, "rows", AS_IT_IS) as kept:
        kept.batch([(0,), (3,)], lambda _: [0, 9])
        assert kept.log is not None
        os.dup2(os.open("/dev/full", os.O_WRONLY), kept.log.file.fileno())
        kept.batch([(1,)], lambda _: [1])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence_and_what_was_kept_stays(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"kept: cannot be written \(No space left"):
        fills_up(tmp_path / "kept")
    assert work(tmp_path / "kept")[1] == [1, 2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_arrays_come_back_bit_for_bit(dtype: str) -> None:
    drawn = np.random.default_rng(0).standard_normal((7, 9)).astype(dtype)
    drawn[2, 3], drawn[4, 4], drawn[0, 0] = np.nan, -0.0, np.finfo(dtype).smallest_subnormal
    back = read_array(json.loads(json.dumps(written_array(drawn), allow_nan=False)))
    assert back.dtype == drawn.dtype
    assert back.tobytes() == np.where(np.isnan(drawn), np.nan, drawn).astype(dtype).tobytes()
