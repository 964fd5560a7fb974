"""The tables: every line loads, none needs torch, and settings are choices on two axes."""

import subprocess
import sys

import pytest

import haymaker as hm
from haymaker import registry
from haymaker.choices import (
    CONCEPTS,
    CONTEXTS,
    DETECTORS,
    METRICS,
    PROMPTS,
    REGISTRIES,
    SETTINGS,
    TASKS,
    axes_of,
    plug_ins,
)
from haymaker.errors import ConfigError
from haymaker.registry import Entry
from haymaker.study.config import StudyConfig

LINES = [(table, name) for table in REGISTRIES for name in table.own]
WITHOUT_TORCH = """
import sys
import haymaker.cli
from haymaker import choices, config
from haymaker.study.config import StudyConfig

assert all(list(table) for table in choices.REGISTRIES)
config.Recipe(task="mdqa", setting="low-low", length=512, rows=1, prompt="official").rivals
choices.plug_ins({"task": "mdqa", "setting": "low-low", "metric": "write"})
assert all(choices.METRICS[name]("a", ["a"]) >= 0 for name in ("squad_f1", "musique_f1"))
heavy = {"torch", "transformers", "peft"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_tables_need_no_torch() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True)


@pytest.mark.parametrize(("table", "name"), LINES, ids=lambda value: getattr(value, "kind", value))
def test_every_line_loads_a_thing_of_its_kind_and_says_what_it_is(table: registry.Registry, name: str) -> None:
    assert all(hasattr(table[name], need) for need in table.needs)
    assert table.entry(name).about
    assert "\n" not in table.entry(name).about
    assert "|" not in table.entry(name).about, "it stands in the tables of docs/"


def test_public_edits_and_metrics_are_those_of_the_tables() -> None:
    assert all(getattr(hm, name) is hm.choices.EDITS[name] for name in hm.choices.EDITS)
    assert all(getattr(hm.metrics, name) is METRICS[name] for name in METRICS)


def test_tasks_name_metrics_that_there_are_and_prompts_belong_to_a_task() -> None:
    assert {metric for task in TASKS for metric in TASKS[task].METRICS} <= set(METRICS)
    assert {name.partition(".")[0] for name in PROMPTS} == set(TASKS)
    assert all(PROMPTS[name].name == name.partition(".")[2] for name in PROMPTS)


def test_a_detector_needs_only_what_a_pass_can_read() -> None:
    assert all(set(DETECTORS[name].needle) <= {"answer", "evidence"} for name in DETECTORS)


# ---- settings


@pytest.fixture
def news(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings the context news and the concept ledger, and one of each with hyphens in their names."""
    entry = Entry("news_package:thing", "from news 2.1", "news", "2.1")
    names = ("contexts", "news"), ("concepts", "ledger"), ("concepts", "low-news"), ("contexts", "news-low")
    found = tuple((f"haymaker.{group}", name, entry) for group, name in names)
    monkeypatch.setattr(registry, "installed", lambda: found)


def test_settings_of_the_table_are_choices_on_both_axes() -> None:
    assert all(axes.concept in CONCEPTS and axes.context in CONTEXTS for axes in SETTINGS.values())
    assert axes_of("high-low")[:2] == ("high", "low")
    assert axes_of("real-limited")[:2] == ("real", "real")


@pytest.mark.parametrize("setting", ["", "-", "low", "low-news", "real-low", "low-real", "symbolic-low", "Low-low"])
def test_other_names_are_refused_with_those_there_are(setting: str) -> None:
    with pytest.raises(
        ConfigError, match=f"no setting '{setting}'; there are real, real-limited, high-high, .*symbolic"
    ):
        axes_of(setting)
    with pytest.raises(ConfigError, match="Recipe: setting: no setting"):
        hm.Recipe(task="mdqa", setting=setting, length=512, rows=1)


@pytest.mark.usefixtures("news")
def test_a_concept_and_a_context_of_other_packages_make_a_setting() -> None:
    assert axes_of("low-news") == ("low", "news", "")
    assert axes_of("ledger-high") == ("ledger", "high", "")
    assert hm.Recipe(task="mdqa", setting="ledger-news", length=512, rows=1).axes[:2] == ("ledger", "news")
    with pytest.raises(ConfigError, match="and concept-context with concept ledger, concept low-news, context news"):
        axes_of("real-news")
    with pytest.raises(ConfigError, match="no setting 'low-news-low'"):  # low with news-low, or low-news with low
        axes_of("low-news-low")


@pytest.mark.usefixtures("news")
def test_results_depend_on_the_packages_behind_them() -> None:
    assert plug_ins({"task": "mdqa", "setting": "low-low", "prompt": None}) == {}
    assert plug_ins({"task": "mdqa", "setting": "low-news", "length": 512}) == {"news": "2.1"}


@pytest.mark.usefixtures("news")
def test_a_study_takes_settings_of_other_packages() -> None:
    rows = {"rows": 4}
    config = StudyConfig(
        name="toy", model="miniature-llama", context=128, length=512, settings=("real", "base", "low-news"),
        tasks={"mdqa": {"train": rows, "test": rows}},
    )  # fmt: skip
    assert config.trained("mdqa") == ("real", "low-news")
    assert config.train_recipe("mdqa", "low-news", 0).axes.context == "news"
