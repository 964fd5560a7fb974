"""Progress where nobody watches: a line now and then, with speed, time left and what computes; and signals to stop."""

import signal
from typing import Any

import pytest

from haymaker import console
from haymaker.console import ended_as_interrupted, stop_signal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(console, "note", lambda message, **_: told.append(message))
    return told


def test_what_takes_long_is_told_with_speed_and_time_left(clock: list[float], lines: list[str]) -> None:
    with console.bar("rows", 100, "tiny: float32 on cpu, 2 threads") as advance:
        for _ in range(100):
            clock[0] += 1.5  # seconds a row: a line after 20 rows, 40, ...
            advance(1)
    assert lines[0] == "rows: 20 of 100, 1.5 s each, 0:02:00 left (tiny: float32 on cpu, 2 threads)"  # 80 * 1.5 = 120 s
    assert lines[1] == "rows: 40 of 100, 1.5 s each, 0:01:30 left"
    assert lines[-1] == "rows: 100 of 100, 1.5 s each, 0:00:00 left"
    assert len(lines) == 5


def test_what_several_processes_remark_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        console.note("rows of another tokenizer")
        console.note(f"broken in {rank}", always=True)
    assert capsys.readouterr().err.splitlines() == ["rows of another tokenizer", *(f"broken in {i}" for i in range(3))]


def test_what_takes_seconds_is_not_told(clock: list[float], lines: list[str]) -> None:
    with console.bar("rows", 10) as advance:
        for _ in range(10):
            clock[0] += 1.5
            advance(1)
    assert lines == []


def test_speed_is_of_steps_or_of_a_step() -> None:
    assert (console.rate_of(12.34), console.rate_of(1.0), console.rate_of(0.25)) == ("12.3/s", "1.0/s", "4.0 s each")


def test_a_call_of_the_library_tells_after_ten_seconds_and_without_a_total_no_time_left(
    clock: list[float], lines: list[str]
) -> None:
    advance = console.told(None, "rows read")
    for _ in range(25):
        clock[0] += 0.5
        advance(1)
    assert lines == ["rows read: 20, 2.0/s"]
    assert list(console.each("ab", None, "rows", 2)) == ["a", "b"]
    counted: list[int] = []
    left = iter(console.each("ab", counted.append, "rows", 2))
    assert (next(left), list(counted)) == ("a", [])  # it is told once it was used
    assert (next(left), list(counted)) == ("b", [1])
    assert console.told(lines.remove, "rows read") == lines.remove  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("inherited", [signal.SIG_IGN, signal.default_int_handler])
def test_a_command_stops_by_either_signal_wherever_it_was_started(sent: signal.Signals, inherited: Any) -> None:
    """A script's `&` starts its commands with SIGINT ignored; what they did before is what they do after."""
    before = signal.signal(signal.SIGINT, inherited)
    try:
        with pytest.raises(KeyboardInterrupt), ended_as_interrupted():
            signal.raise_signal(sent)
        with ended_as_interrupted(), stop_signal("a row") as stopped:
            signal.raise_signal(sent)
            assert stopped.is_set()
        assert signal.getsignal(signal.SIGINT) is inherited
    finally:
        signal.signal(signal.SIGINT, before)
