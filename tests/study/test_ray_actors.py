"""What a place in a Ray cluster does when its actor is lost or late; benchmarks/engine_ray.py has Ray itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_stages import WORK, Toy

from haymaker.errors import StudyError
from haymaker.study import Plan, Store, execute
from haymaker.study.cell import Cell
from haymaker.study.runners import ray_actors
from haymaker.study.runners.config import RunnerConfig
from haymaker.study.runners.pool import Gone, Lost, Overdue, Pool
from haymaker.study.runners.ray_actors import CellActor, RayPlace, RayRunner


class RayError(Exception):
    """As Ray's own."""


class Late(RayError):
    """As Ray's GetTimeoutError."""


class FakeRay:
    """Ray whose calls end as they are told to: a function of the request, or an error."""

    exceptions = SimpleNamespace(RayError=RayError, GetTimeoutError=Late)

    def __init__(self, *ends: Any) -> None:
        self.ends, self.started, self.killed = list(ends), 0, 0

    def remote(self, actor: type) -> Any:
        self.started += 1
        made = SimpleNamespace()
        made.ready = SimpleNamespace(remote=lambda: None)
        made.perform = SimpleNamespace(remote=lambda request: lambda: CellActor({}).perform(request))
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda variables: made))

    def get(self, value: Any, timeout: float | None = None) -> Any:
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, Exception):
            raise end
        return value() if callable(value) else value

    def kill(self, actor: Any) -> None:
        self.killed += 1


def test_a_ray_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: Any) -> None:
        raise Exception("The current node timed out\nduring startup.")

    never = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(ray_actors, "imported", lambda: never)
    with pytest.raises(StudyError, match="reached: The current node timed out during startup.; try again, or"):
        RayRunner(RunnerConfig(name="ray"), {})


def pool(*fakes: FakeRay) -> Pool:
    return Pool(lambda number: RayPlace(fakes[number % len(fakes)], {}, 1), len(fakes))


def cells(count: int) -> Plan:
    return Plan.of("toy", [Cell(f"cell/{i}", WORK, Toy(value=i)) for i in range(count)])


@pytest.mark.parametrize(
    ("error", "raised"), [(RayError("the actor died"), Lost), (Late("late"), Overdue)], ids=["died", "late"]
)
def test_a_lost_or_late_actor_is_ended_and_the_next_call_starts_another(
    error: Exception, raised: type[Exception], tmp_path: Path
) -> None:
    ray = FakeRay(None, error)
    place = RayPlace(ray, {}, 1)
    with pytest.raises(raised):
        place.call("{}", 60.0)
    assert (ray.started, ray.killed, place.actor) == (1, 1, None)
    assert place.started() is not None
    assert ray.started == 2


@pytest.mark.parametrize("count", [1, 4])  # one cell alone asks for no second place, until the first is gone
def test_a_place_that_cannot_be_had_leaves_its_work_to_the_others(count: int, tmp_path: Path) -> None:
    full, free = FakeRay(*[Late("no room")] * 9), FakeRay()
    with pytest.raises(Gone):
        RayPlace(FakeRay(Late("no room")), {}, 1).started()
    summary = execute(cells(count), Store(tmp_path), pool(full, free))
    assert len(summary.ran) == count


def test_with_no_place_left_cells_fail_and_are_told(tmp_path: Path) -> None:
    summary = execute(cells(2), Store(tmp_path), pool(FakeRay(*[Late("no room")] * 9)))
    assert set(summary.failed.values()) == {"the cluster has no place for another actor"}
