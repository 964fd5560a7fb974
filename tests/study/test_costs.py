"""What a study is predicted to take: beside what was measured, for machines that are not here, and as cells finish."""

import json
import platform
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from haymaker.config_files import load_config
from haymaker.errors import ConfigError
from haymaker.models import precision
from haymaker.models.packaged import MINIATURES
from haymaker.study import Plan, StudyConfig, machines, plan_study
from haymaker.study.costs import MARGIN, Costs, Prediction, fitting, made_there, predictions, requests
from haymaker.study.machines import Machine, computes_in_half, cpu_here, machine_of, shape_for
from haymaker.study.survey import Standing

STUDIES = Path(machines.__file__).parents[1] / "studies"
MODEL = "smollm2-135m"


@pytest.fixture
def amx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor that the measurements are of; the model's sizes by its name."""
    monkeypatch.setattr(machines, "processor_flags", lambda: frozenset({machines.AMX, machines.AVX512}))
    monkeypatch.setattr(machines, "config_here", lambda name: None)


def plan() -> Plan:
    return plan_study(load_config(STUDIES / "miniature.yaml", StudyConfig, ["seeds=[0]"]))


def costs(machine: Machine | None = None, of: Plan | None = None, model: str = MODEL) -> Costs:
    return Costs(of or plan(), model, machine or cpu_here(1, half=False))


# benchmarks/results/smollm2.md: seconds of one thread on a quiet machine; a row learned, an answer of 8 tokens, a map
MEASURED = [
    (1024, False, (6.02, 2.90, 2.82)),
    (1024, True, (2.95, 1.37, 1.13)),
    (512, False, (2.48, 1.53, 1.51)),
    (512, True, (1.38, 1.02, 1.00)),
]


@pytest.mark.parametrize(("length", "half", "measured"), MEASURED)
def test_predictions_stand_beside_what_was_measured(
    length: int, half: bool, measured: tuple[float, ...], amx: None
) -> None:
    found = costs(machine_of("cpu", 1, half))
    read = found.reading_seconds(length)
    told = (found.row_seconds(length), read + found.answer_seconds(length, 8), read)
    nearest = 1.3 if length == 1024 else 2.3  # short rows wait for other things than products
    assert all(1 / nearest < one / other < nearest for one, other in zip(told, measured, strict=True)), told


def test_what_the_config_has_layers_compute_again_counts(amx: None) -> None:
    told = []
    for rung in ("none", "mlp", "full", "auto"):
        study = plan_study(load_config(STUDIES / "smollm2.yaml", StudyConfig, [f"train.recompute={rung}"]))
        cell = next(cell for cell in study.cells.values() if cell.stage.name == "train")
        found, params = costs(machine_of("cpu", 1), study), cell.params
        told.append((found.peak(cell, 4096), found.row_seconds(4096, params.train)))  # type: ignore[attr-defined]
    memory, seconds = zip(*told[:3], strict=True)
    assert memory[0] > memory[1] > memory[2]
    assert seconds[0] < seconds[1] < seconds[2]
    assert told[3] == told[0]  # there is room


def test_short_prompts_of_a_small_model_are_answered_together_on_a_gpu(amx: None) -> None:
    """30 layers of 0.6 ms: 18 ms a token, alone (of more than 2,048 tokens) or shared by sixteen."""
    found = costs(machine_of("h100"))
    assert found.answer_seconds(4096, 8) == pytest.approx(8 * 0.018)
    assert found.answer_seconds(1024, 8) == pytest.approx(8 * 0.018 / 16)


def test_what_smollm2_s_study_took_on_an_h100_is_foreseen(amx: None) -> None:
    # benchmarks/results/gpu-study-nvidia-h100-80gb-hbm3.md: seconds of a cell by stage, ten processes on the card
    measured = {
        "train": (21, 46.9),
        "evaluate": (23, 9.6),
        "heads": (22, 5.5),
        "ablate": (3, 55.3),
        "patch": (14, 23.8),
    }
    study = plan_study(load_config(STUDIES / "smollm2.yaml", StudyConfig))
    found, told = costs(machine_of("h100"), study), {}
    for stage, (_, seconds) in measured.items():
        each = [found.of(cell).seconds or 0.0 for cell in study.cells.values() if cell.stage.name == stage]
        told[stage] = sum(each) / len(each)
        assert 1 / 1.35 < told[stage] / seconds < 1.35, (stage, told[stage])
    hours = [sum(n * each[stage] for stage, (n, _) in measured.items()) for each in
             (told, {stage: seconds for stage, (_, seconds) in measured.items()})]  # fmt: skip
    assert 1 / 1.5 < hours[0] / hours[1] < 1.5


def test_the_precision_is_the_one_that_models_are_loaded_in(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    for has in (True, False):
        monkeypatch.setattr(precision, "has_amx", lambda has=has: has)
        monkeypatch.setattr(machines, "processor_flags", lambda has=has: frozenset({machines.AMX} if has else ()))
        for width in (machines.WIDE - 64, machines.WIDE):
            for own in ("float32", "bfloat16", "float16"):
                config = LlamaConfig(hidden_size=width, num_attention_heads=8, dtype=own)
                for asked in ("auto", "float32", "bfloat16"):
                    monkeypatch.setattr(machines, "config_here", lambda name, config=config: config.to_dict())
                    half = precision.chosen_dtype(asked, device, config) == torch.bfloat16
                    assert computes_in_half("any", asked) == half, (has, width, own, asked)


def test_a_machine_is_named_or_the_one_at_hand(amx: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "gpu_here", lambda: None)
    assert (machine_of(None).name, machine_of(None).here) == ("cpu", True)
    assert (machine_of("h100").here, machine_of("h100").element) == (False, 2)
    assert machine_of("cpu", threads=2).device.products == 2 * machine_of("cpu").device.products
    with pytest.raises(ConfigError, match="expected one of a100-80gb, .*, b200, mps, cpu, found 'v100'"):
        machine_of("v100")


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA B200", "b200"),
        ("Tesla V100-SXM2-16GB", "a100-80gb"),
    ],
)
def test_a_gpu_is_known_by_the_words_of_its_name(told: str, known: str) -> None:
    assert machines.nearest(told) == known


def test_what_is_not_known_is_said_not_guessed(tmp_path: Path) -> None:
    found = costs(model="nobody/knows-this")
    cells = plan().cells
    assert shape_for("nobody/knows-this", 8, 2) is None
    of_text = json.dumps(
        json.loads((MINIATURES / "sparse" / "config.json").read_text()) | {"hidden_size": "64", "head_dim": 8}
    )
    for config in (
        "[]",
        "[" * 100_000,
        '{"hidden_size": "wide"}',
        '{"hidden_size": 64, "num_hidden_layers": [2]}',
        of_text,
    ):
        (tmp_path / "config.json").write_text(config)
        assert shape_for(str(tmp_path), 8, 2) is None
        assert not computes_in_half(str(tmp_path), "auto")
    assert (found.of(cells["train/mdqa/real"]).seconds, found.of(cells["train/mdqa/real"]).peak_bytes) == (None, None)
    assert found.of(cells["data/mdqa/real"]).seconds is not None


def test_a_cell_s_rows_and_tokens_are_counted(amx: None) -> None:
    study = plan()
    config = load_config(STUDIES / "miniature.yaml", StudyConfig, ["seeds=[0]"])
    train = costs().of(study.cells["train/mdqa/real"])
    assert train.tokens == config.train.steps * config.train.batch * config.length
    ablation = config.ablation
    assert ablation is not None
    cell = study.cells["ablate/mdqa/real"]
    rows = cell.params.rows or config.test_recipe("mdqa", config.length).rows  # type: ignore[attr-defined]
    tokens = config.length + (config.evaluation.new_tokens or 32)
    # each row is read plain, without the top k, and without `draws` random sets of k, for every k
    assert costs().of(cell).tokens == rows * (1 + len(ablation.k) * (1 + ablation.draws)) * tokens


# ---- what finished cells teach


def standings(done: dict[str, float], host: str) -> dict[str, Standing]:
    """All cells of the plan; those named took so many seconds on a machine."""
    found = {}
    for name, cell in plan().cells.items():
        manifest = {"seconds": done[name], "host": host} if name in done else None
        found[name] = Standing(cell, "done" if manifest else "missing", manifest=manifest)
    return found


def test_finished_cells_correct_those_left_of_their_stage_and_then_of_others(amx: None) -> None:
    plain = {name: costs().of(cell).seconds or 0.0 for name, cell in plan().cells.items()}
    took = {"train/mdqa/real": 3 * plain["train/mdqa/real"], "heads/mdqa/real": 2 * plain["heads/mdqa/real"]}
    found = predictions(costs(), standings(took, platform.node()))
    ratios = {name: (found[name].seconds or 0.0) / plain[name] for name in plain}
    assert ratios["train/mdqa/low-low"] == pytest.approx(3.0)
    assert ratios["heads/mdqa/low-low"] == pytest.approx(2.0)
    assert ratios["evaluate/mdqa/low-low"] == pytest.approx(2.5)  # none is finished: the median of both
    assert ratios["data/mdqa/low-low"] == 1.0  # no model in it


def test_only_cells_that_were_made_where_the_others_will_be_correct_them(amx: None) -> None:
    here, there = cpu_here(1, half=False), machine_of("h100")
    own, other = {"host": platform.node()}, {"host": "elsewhere"}
    assert [made_there(own, here), made_there(other, here)] == [True, False]
    assert [made_there(own, there), made_there(other, there)] == [False, True]
    plain = costs(there).of(plan().cells["train/mdqa/low-low"]).seconds
    found = predictions(costs(there), standings({"train/mdqa/real": 9999.0}, platform.node()))
    assert found["train/mdqa/low-low"].seconds == plain


# ---- what follows for runners


def told(seconds: float) -> Prediction:
    return Prediction(1, 1, seconds, 10, 0, uses_model=True)


def test_a_rank_is_the_longest_chain_that_begins_with_a_cell(amx: None) -> None:
    study = plan()
    found: dict[str, Any] = {name: told(60.0) for name in study.cells}
    asked = requests(found, study, gpu=True)
    # data, train, heads, patch: the donor's heads are read by others' patches
    assert asked["data/mdqa/real"].rank == 4 * 60.0
    assert asked["patch/mdqa/low-low"].rank == 60.0
    assert asked["patch/mdqa/low-low"].minutes == 15.0  # at least; else three times what is predicted
    assert requests(found | {"patch/mdqa/low-low": told(3600.0)}, study, True)[
        "patch/mdqa/low-low"
    ].minutes == pytest.approx(60 * MARGIN)
    assert asked["patch/mdqa/low-low"].gpus == 1.0


def test_the_first_cells_that_fit_into_some_hours_have_what_they_read(amx: None) -> None:
    study = plan()
    found = {name: told(360.0) for name in study.cells}  # a tenth of an hour each
    chosen = fitting(study.cells, found, study, hours=0.75)
    assert len(chosen) == 7
    assert all(source in chosen for name in chosen for source in study.cells[name].inputs.values())
    dear = found | {"train/mdqa/real": told(36000.0)}
    left = fitting(study.cells, dear, study, hours=2.0)
    assert left
    assert not set(study.readers("train/mdqa/real")) & set(left)
    assert fitting(study.cells, found, study, hours=0.0) == []
