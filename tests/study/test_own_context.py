"""Studies inside a model's own context: no extension anywhere, and every model reads every row of the study."""

from pathlib import Path
from typing import Any

import pytest
from command_line import fails

from haymaker.config_files import load_config
from haymaker.study import Plan, StudyConfig, plan_study

STUDIES = Path(__file__).parents[2] / "src" / "haymaker" / "studies"
PARTS = ("train", "test")
INSIDE = ["extend=null", "length=128"]


def planned(*overrides: str, study: str = "miniature") -> Plan:
    return plan_study(load_config(STUDIES / f"{study}.yaml", StudyConfig, list(overrides)))


def params(plan: Plan, cell: str) -> dict[str, Any]:
    return plan.cells[cell].params.model_dump()


def test_nothing_is_extended_and_the_setting_extended_is_left_out() -> None:
    plan = planned(*INSIDE)
    assert not [name for name in plan.cells if "extended" in name]
    assert {params(plan, name)["extend"] for name in plan.cells if "extend" in params(plan, name)} == {None}
    trained = {name for name in planned().cells if name.split("/")[0] in ("train", "compare", "ablate", "patch")}
    assert trained <= set(plan.cells)


def test_the_base_is_scored_on_the_rows_of_the_others() -> None:
    plan = planned(*INSIDE, "evaluation.untrained_lengths=[64, 256]")
    assert plan.cells["heads/mdqa/base"].inputs == {"data": "data/mdqa/test/128"}
    assert plan.cells["heads/mdqa/base"].columns["length"] == 128
    beyond = {name: params(plan, name)["beyond_context"] for name in plan.cells if name.startswith("evaluate/")}
    assert {name for name, is_so in beyond.items() if is_so} == {"evaluate/mdqa/base/256"}


@pytest.mark.parametrize("length", [64, 127, 128])
def test_any_length_up_to_the_context_will_do(length: int) -> None:
    plan = planned(
        "extend=null", f"length={length}", "ablation.settings=[base, real]", "evaluation.untrained_lengths=[]"
    )
    assert {name for name in plan.cells if "/test/" in name} == {f"data/mdqa/test/{length}"}
    assert "ablate/mdqa/base" in plan.cells  # it can read them here


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("extend=null",), "length: without an extension (extend: null) expected at most the context of 128 tokens"),
        (("length=128",), "a study inside the model's own context says extend: null"),
        ((*INSIDE, "ablation.settings=[extended]", "settings=[extended]"), "similarity.reference: 'real' is not among"),
    ],
)
def test_length_and_extension_must_fit_together(overrides: tuple[str, ...], message: str) -> None:
    sets = [word for override in overrides for word in ("--set", override)]
    fails(2, message, "study", "plan", "miniature", *sets)


def test_smollm2_has_every_setting_three_times_and_no_extension() -> None:
    plan = planned(study="smollm2")
    trained = [name for name in plan.cells if name.startswith("train/")]
    assert len(trained) == 7 * 3
    assert "train/mdqa/real-limited@2" in trained
    assert {params(plan, name)["extend"] for name in trained} == {None}
    assert plan.cells["heads/mdqa/base"].inputs == {"data": "data/mdqa/test/1024"}


def test_smollm2_reads_rows_of_a_file_where_one_is_given() -> None:
    config = load_config(STUDIES / "smollm2.yaml", StudyConfig, [f"tasks.mdqa.{part}.source=a.gz" for part in PARTS])
    assert {str(config.train_recipe("mdqa", "real", 0).source), str(config.test_recipe("mdqa", 64).source)} == {"a.gz"}


# ---- how a context is extended


def test_a_method_reaches_every_extended_cell_and_no_method_leaves_keys_as_they_were() -> None:
    """The digest of a cell's parameters is in its key: what is not said must not stand in it otherwise than before."""
    plain, yarn = planned(), planned("extend.method=yarn")
    for name in plain.cells:
        before, after = params(plain, name), params(yarn, name)
        if before.get("extend"):
            assert before["extend"] == {"length": 512, "theta": None, "method": None, "keep_window": False}
            assert after == before | {"extend": before["extend"] | {"method": "yarn"}}
        else:
            assert after == before
    assert params(planned("extend.theta=50000.0", "extend.method=theta"), "train/mdqa/real")["extend"]["theta"] == 5e4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("extend.method=yarm", "extend.method: expected 'ntk', 'theta', 'linear' or 'yarn'"),
        ("extend.method=theta", "extend: theta: expected one with the method theta"),
        ("extend={method: linear, theta: 5.0e+4}", "extend: theta: expected one with the method theta"),
    ],
)
def test_a_method_that_cannot_be_meant_is_refused_at_the_plan(override: str, message: str) -> None:
    fails(2, message, "study", "plan", "miniature", "--set", override)
