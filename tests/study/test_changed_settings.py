"""Settings whose training recipe differs in some keys, the shipped studies of the open questions, and their cells."""

import importlib
from pathlib import Path

import pytest

import haymaker as hm
from haymaker.config_files import load_config
from haymaker.errors import ConfigError
from haymaker.models.load import load_tokenizer
from haymaker.study import StudyConfig, plan_study
from haymaker.study.config import parted
from haymaker.study.costs import OF_TWO_MODELS
from haymaker.study.runners.sending import packed, unpacked
from haymaker.study.runners.work import Work
from haymaker.study.stages import PartsParams

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "src" / "haymaker" / "studies"


def config(**changes: object) -> StudyConfig:
    given = {
        **{"name": "s", "model": "miniature-llama", "context": 128, "length": 256},
        **{"settings": ["real", "low-high"], "tasks": {"mdqa": {"train": {"rows": 4}, "test": {"rows": 4}}}},
        **dict.fromkeys(("ablation", "patching")),
    }
    return StudyConfig(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "setting", "changes"),
    [
        ("low-high", "low-high", {}),
        ("low-high:competitors=12", "low-high", {"competitors": 12}),
        ("low-high:competitors=12,depth=0.5", "low-high", {"competitors": 12, "depth": 0.5}),
        ("real:hops=[2,3],distractors=nearest", "real", {"hops": [2, 3], "distractors": "nearest"}),
    ],
)
def test_a_setting_and_what_differs(name: str, setting: str, changes: dict[str, object]) -> None:
    assert parted(name) == (setting, changes)


def test_a_recipe_has_the_changes_and_nothing_else() -> None:
    study = config(settings=["real", "low-high", "low-high:competitors=12"])
    plain, changed = (study.train_recipe("mdqa", name, 0) for name in ("low-high", "low-high:competitors=12"))
    assert changed == plain.changed(competitors=12)
    assert study.test_recipe("mdqa", 256).competitors == plain.competitors  # test rows are the same for all
    assert "train/mdqa/low-high:competitors=12" in plan_study(study).cells


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("low-high:competitor=12", "settings: low-high:competitor=12: Recipe: unknown key competitor"),
        ("low-high:rows", "expected SETTING:KEY=VALUE,KEY=VALUE, found 'rows'"),
        ("low-high:", "expected SETTING:KEY=VALUE"),
        ("low-high:length=9", "settings: low-high:length=9.length: the study fills this in"),
        ("low-high:depth=7", "depth"),
        ("extended:depth=0", "extended is not trained"),
        ("nothing:depth=0", "no setting 'nothing'"),
        ("low-high:distractors=nearest", "it is about rows of a file"),
    ],
)
def test_what_cannot_be_changed_is_refused_before_anything_runs(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(settings=["real", "low-high", name])


def test_parts_are_of_every_trained_setting_beside_the_donor() -> None:
    study = config(parts={"donor": "real", "k": 3, "rows": 2})
    plan = plan_study(study)
    cells = {name: cell for name, cell in plan.cells.items() if name.startswith("parts/")}
    assert list(cells) == ["parts/mdqa/low-high"]
    cell = cells["parts/mdqa/low-high"]
    params = cell.params
    assert isinstance(params, PartsParams)
    assert (params.k, params.rows) == (3, 2)
    assert cell.inputs["donor"] == "train/mdqa/real"
    assert cell.inputs["donor_heads"] == "heads/mdqa/real"
    assert cell.inputs["recipient"] == "train/mdqa/low-high"
    assert cell.stage.name in OF_TWO_MODELS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": {"donor": "low-low"}}, "parts.donor: 'low-low' is not among the settings"),
        ({"parts": {"rows": 9}}, "parts.rows: tasks.mdqa.test has 4 rows, found 9"),
        ({"parts": {}, "heads": None, "similarity": None}, "parts: needs head scores"),
        ({"evaluation": {"metric": "gold_over_foil"}, "ablation": {}}, "ablation: needs answers"),
    ],
)
def test_parts_and_choices_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**changes)


@pytest.mark.parametrize("name", ["open-question-1", "open-question-2", "open-question-2-files"])
def test_the_studies_of_the_open_questions_are_planned(name: str) -> None:
    study = load_config(STUDIES / f"{name}.yaml", StudyConfig)
    cells = plan_study(study).cells
    kinds = {cell.split("/")[0] for cell in cells}
    assert kinds == {"data", "train", "evaluate", "heads", "compare"} | ({"parts"} if name.endswith("1") else set())


@pytest.mark.parametrize("needles", [1, 2, 4])
def test_rows_of_several_needles_hold_each_as_evidence(
    needles: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the study over rows: as many facts as said, each in a document of its own."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("open_questions")
    monkeypatch.setattr(benchmark, "SPLITS", {"train": 4, "test": 2})
    benchmark.write_rows(tmp_path / "rows.jsonl", needles, seed=1)
    recipe = hm.Recipe(task="qa", source=str(tmp_path / "rows.jsonl"), length=512, rows=6)
    for row in hm.build(recipe, load_tokenizer("miniature-llama")):
        evidence = row.spans["evidence"]
        assert len(evidence) == needles == len({document_of(row, span) for span in evidence})
        assert all(any(answer.overlaps(span) for span in evidence) for answer in row.spans["answer"])


def document_of(row: hm.Example, span: hm.Span) -> hm.Span:
    """The one that a span stands in."""
    (found,) = (document for document in row.spans["document"] if document.overlaps(span))
    return found


def test_rows_of_a_file_travel_to_another_process(tmp_path: Path) -> None:
    """A recipe's file is no part of its cell's parameters, and comes with the paths."""
    (tmp_path / "rows.jsonl").write_text("")
    rows = {"rows": 4, "source": str(tmp_path / "rows.jsonl")}
    study = config(tasks={"mdqa": {"train": rows, "test": rows}}, settings=["real", "real:distractors=nearest"])
    cell = plan_study(study).cells["data/mdqa/real:distractors=nearest"]
    assert cell.params.source is None  # type: ignore[attr-defined]
    paths = {name: outside.path() for name, outside in cell.outside.items() if outside.kind == "file"}
    sent = unpacked(packed(Work(cell, "0" * 64, {}, paths, tmp_path / "store")))
    assert (sent.cell.params.distractors, sent.paths) == ("nearest", paths)  # type: ignore[attr-defined]
