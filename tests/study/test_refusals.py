"""A study that must fail after hours is refused at its plan, in one sentence."""

import json
from pathlib import Path

import pytest
import yaml
from command_line import fails, passes
from real_rows import mdqa_row, write_jsonl

STUDY = {
    **{"name": "small", "model": "miniature-llama", "context": 128, "length": 256, "settings": ["base", "real"]},
    "tasks": {"mdqa": {"train": {"rows": 4}, "test": {"rows": 4}}},
    "ablation": {"k": [1], "draws": 1},
}


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("context=64", "context: the study says 64 tokens, the config of miniature-llama says 128"),
        ("context=192", "context: the study says 192 tokens, the config of miniature-llama says 128"),
        ("ablation.k=[0, 1]", "k.0: Input should be greater than or equal to 1"),
        ("seeds=[0, 0]", "seeds: expected each once, found [0, 0]"),
        ("length=100000000", "length: 100,000,000 were asked for"),
        ("evaluation.new_tokens=256", "answer_room: 256 were asked for, and 255 are the most"),
        ("ablation.settings=[high-high]", "ablation.settings: found high-high, and mdqa has base, real;"),
        ("train.layers=[4]", "train.layers: miniature-llama has 4 layers, 0 to 3, found 4"),
        ("train.targets=[qkv_proj]", "train.targets: the layers of miniature-llama have no qkv_proj; there are "),
        ("train.ranks={gate: 4}", "train.ranks: the layers of miniature-llama have no gate; there are "),
        ("train.heads=[4-1]", "train.heads: miniature-llama has 4 layers of 8 heads, found 4-1"),
        ("train.heads=[1-8]", "train.heads: miniature-llama has 4 layers of 8 heads, found 1-8"),
        ("train={heads: [1-2], layers: [0]}", "heads: none of 1-2 is in the layers that are adapted, 0,"),
        ("train={heads: [1-2], targets: [mlp]}", "heads: the targets have mlp, which has no heads"),
        ("train.track.k=33", "train.track.k: miniature-llama has 32 heads, found 33"),
        ("train.track.reference=nowhere.json", "train.track.reference: nowhere.json: no such file"),
        ("train.context_parallel=2", "train.context_parallel: a study trains each adapter in one process, found 2"),
        ("ablation.k=[]", "AblationConfig: k: "),
        ("ablation.k=[17]", "ablation.k: miniature-llama has 32 heads, so at most 16 can be masked"),
        ("similarity.k=0", "SimilarityConfig: k: "),
        ("similarity.k=33", "similarity.k: miniature-llama has 32 heads, found 33"),
        ("patching.k=33", "patching.k: miniature-llama has 32 heads, found 33"),
        ("heads.rows=5", "heads.rows: tasks.mdqa.test has 4 rows, found 5"),
        ("evaluation.rows=5", "evaluation.rows: tasks.mdqa.test has 4 rows, found 5"),
    ],
)
def test_what_must_fail_is_refused_at_the_plan(command: str, override: str, message: str, tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(STUDY))
    fails(2, message, "study", command, study, "--set", override, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_more_rows_than_the_source_has(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(number) for number in range(4)])
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(STUDY | {"tasks": {"mdqa": {"train": {"rows": 4}, "test": {"rows": 4}}}}))
    more = ["--set", f"tasks.mdqa.test.source={source}", "--out", tmp_path / "out"]
    assert "base" in passes("study", "plan", study, *more)
    fails(2, f"data/mdqa/test/256: 5 rows asked for, {source} gives 4", "study", "plan", study, *more,
          "--set", "tasks.mdqa.test.rows=5")  # fmt: skip


def test_a_window_may_be_trained_on_less_than_its_positions(tmp_path: Path, model_folder: Path) -> None:
    path = model_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_position_embeddings": 512, "sliding_window": 64}))
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(STUDY | {"model": str(model_folder), "similarity": None, "patching": None}))
    assert "base" in passes("study", "plan", study)
    fails(2, "context: the study says 600", "study", "plan", study, "--set", "context=600", "--set", "length=700")
