"""A registry lists without loading, loads by name, and an error in one package's entry point is that name's alone."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from haymaker import registry
from haymaker.errors import ConfigError, PluginError
from haymaker.registry import Entry, Registry, judged_by_names, packages_of, scores_of_share

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Stands in for packages: `install(("name", "module:attribute", "package"), ...)` gives things of kind toy."""

    def install(*points: tuple[str, str, str]) -> None:
        found = tuple(("haymaker.toys", name, Entry(place, "", package, "1.0")) for name, place, package in points)
        monkeypatch.setattr(registry, "installed", lambda: found)

    install()
    return install


@pytest.fixture
def toys() -> Registry:
    return Registry("toy", {"join": ("os.path:join", "joins"), "absent": ("no_such_module", "not here")})


def test_own_things_come_first_and_in_their_order(toys: Registry, install: Install) -> None:
    install(("abs", "os.path:abspath", "paths"))
    assert list(toys) == ["join", "absent", "abs"]
    assert "abs" in toys
    assert "split" not in toys


def test_a_name_loads_a_module_or_an_attribute_of_it(toys: Registry, install: Install) -> None:
    install(("abs", "os.path:abspath", "paths"), ("path", "os.path", "paths"))
    from os.path import abspath, join

    assert toys["join"] is join
    assert toys["abs"] is abspath
    assert Registry("toy", {}, needs=("join",))["path"] is sys.modules["os.path"]


def test_listing_and_knowing_load_nothing(toys: Registry, install: Install, tmp_path: Path) -> None:
    install(("late", "colorsys:rgb_to_hsv", "colours"))
    sys.modules.pop("colorsys", None)
    assert "late" in list(toys)
    assert toys.entry("late").package == "colours"
    assert "colorsys" not in sys.modules
    assert toys["late"] is sys.modules["colorsys"].rgb_to_hsv


def test_an_unknown_name_is_told_with_those_there_are(toys: Registry, install: Install) -> None:
    install(("abs", "os.path:abspath", "paths"))
    with pytest.raises(ConfigError, match="no toy 'split'; there are join, absent, abs"):
        toys["split"]
    for unnamed in (len, ["abs"]):
        with pytest.raises(ConfigError, match="a toy is chosen by name, .*entry point haymaker.toys, docs/plug-ins"):
            toys[unnamed]  # type: ignore[index]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("no_such_module:thing", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("os.path:no_such_thing", "AttributeError: .*no_such_thing"),
        ("not a place", "it does not load"),
        ("os.path:sep", "expected a toy, found '/' without __call__"),
    ],
)
def test_a_broken_plug_in_names_its_package_and_entry_point(
    toys: Registry, install: Install, place: str, reason: str
) -> None:
    install(("bad", place, "breaker"), ("abs", "os.path:abspath", "paths"))
    with pytest.raises(PluginError, match=f"package breaker, entry point haymaker.toys: bad = {place}: .*{reason}"):
        toys["bad"]
    assert toys["abs"] is not None
    assert toys["join"] is not None
    assert list(toys) == ["join", "absent", "bad", "abs"]


def test_a_module_that_raises_while_it_is_imported_is_a_broken_plug_in(
    toys: Registry, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_plug_in.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(("bad", "raising_plug_in", "breaker"))
    with pytest.raises(PluginError, match=r"it does not load \(RuntimeError: no licence\)"):
        toys["bad"]


def test_a_name_that_two_packages_bring_names_both(toys: Registry, install: Install) -> None:
    install(("abs", "os.path:abspath", "one"), ("abs", "os.path:realpath", "other"), ("join", "shlex:join", "third"))
    with pytest.raises(PluginError, match=r"toy 'abs': .*one \(os.path:abspath\) and other \(os.path:realpath\)"):
        toys["abs"]
    with pytest.raises(PluginError, match=r"toy 'join': .*haymaker \(os.path:join\) and third \(shlex:join\)"):
        toys.entry("join")
    assert list(toys) == ["join", "absent", "abs"]


def test_what_fails_in_haymaker_itself_is_no_plug_ins_fault(toys: Registry, install: Install) -> None:
    with pytest.raises(ModuleNotFoundError):
        toys["absent"]


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.0001, 2, float("inf"), None, "1", [1.0], np.float32(1.5)])
def test_a_metric_of_another_package_gives_shares_or_is_told(score: object, install: Install) -> None:
    table = Registry("toy", {}, border=scores_of_share)
    install(("odd", "toy_plug_in:odd", "breaker"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "toy_plug_in", SimpleNamespace(odd=lambda prediction, golds: score))
        with pytest.raises(
            PluginError, match="package breaker, .*odd: expected a score of 0 to 1, found .*'an answer'"
        ):
            table["odd"]("an answer", ["a gold"])


@pytest.mark.parametrize(
    "score", [0, 1, True, 0.5, np.float32(0.5), np.float64(1), np.bool_(False), torch.tensor(0.25)]
)
def test_a_score_is_a_number_of_python(score: object) -> None:
    given = scores_of_share(lambda prediction, golds: score, "a place")("an answer", ["a gold"])
    assert type(given) is float
    assert given == float(score)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", ["squad_f1", (), [], None, ("squad_f1", 1), {"squad_f1": 1}])
def test_the_metrics_of_a_task_are_names(names: object) -> None:
    with pytest.raises(PluginError, match="a place: expected METRICS as names"):
        judged_by_names(SimpleNamespace(METRICS=names), "a place")


def test_the_package_of_a_module_is_known(install: Install) -> None:
    install(("a", "toys_of_one.inner:thing", "one"), ("b", "toys_of_one", "one"), ("c", "toys", "other"))
    assert packages_of("toys_of_one.other.deep") == ("one 1.0",)
    assert packages_of("toys") == ("other 1.0",)
    assert packages_of("toys_of") == packages_of("") == packages_of("haymaker.tasks") == ()
