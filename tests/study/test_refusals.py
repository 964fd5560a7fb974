"""A study that must fail after hours is refused at its plan, in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import fails, passes
from real_rows import mdqa_row, write_jsonl
from safetensors.torch import save_file

from haymaker.study.training_refusals import products_in

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
        ("ablation.k=[0, 1]", "ablation.k.0: expected a value greater than or equal to 1"),
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
        (
            "train.rank=129",
            "train.rank: expected at most the smaller side of every product, of k_p",
        ),
        ("train.ranks={k_proj: 129}", "of k_proj of miniature-llama 128, found 129"),
        (
            "train.ranks={attention: 4}",
            "train.ranks: no attention is adapted, so its rank would say no",
        ),
        ("train.ranks={gate_proj: 4}", "train.ranks: no gate_proj is adapted"),
        (
            "train={weight_decay: 200, rate: 0.005}",
            "weight_decay: each step takes rate * weight_decay of a wei",
        ),
        ("train.layers=[-1]", "train.layers.0: expected a value greater than or equal to 0, found -1\n"),
        ("train.shard=true", "train.shard: a study trains each adapter in one process"),
        ("train.track={rows: 5}", "train.track.rows: tasks.mdqa.test has 4 rows, found 5"),
        ("extend.theta=9999", "extend.theta: expected at least the base of miniature-llama, 10000, found 9999"),
        ("test_split=train", "test_split: tests would ask what real was trained on, rows of split train by seed 0"),
        ("runner.device=abacus", "runner.device: expected one of a100-80gb"),
        ("tasks.mdqa.train.nested=[64]", "data/mdqa/real: nested: 256 is none of the lengths [64] that share a plan"),
        ("tasks.mdqa.train.hops=[2]", "hops: mdqa does not read it; musique does"),
        (
            "tasks.mdqa.train={rows: 4, documents: 3, gold_position: 3}",
            "real: gold_position: 3 documents were to stand before",
        ),
        (
            "tasks={musique: {train: {rows: 4, hops: [5]}, test: {rows: 4}}}",
            "data/musique/real: hops: MuSiQue's ques",
        ),
        (
            "tasks.mdqa.train.split_shares={train: -1}",
            "split_shares.train: expected a value greater than or equal to 0",
        ),
        ("parts={k: 33}", "parts.k: miniature-llama has 32 heads, found 33"),
        ("ablation.k=[1, 1]", "ablation.k: expected each once, found [1, 1]"),
        ("train.track.k=33", "train.track.k: miniature-llama has 32 heads, found 33"),
        ("train.track.reference=nowhere.json", "train.track.reference: nowhere.json: no such file"),
        ("train.context_parallel=2", "train.context_parallel: a study trains each adapter in one process, found 2"),
        ("ablation.k=[]", "ablation.k: "),
        ("ablation.k=[17]", "ablation.k: miniature-llama has 32 heads, so at most 16 can be masked"),
        ("similarity.k=0", "similarity.k: "),
        ("similarity.k=33", "similarity.k: miniature-llama has 32 heads, found 33"),
        ("patching.k=33", "patching.k: miniature-llama has 32 heads, found 33"),
        ("heads.rows=5", "heads.rows: tasks.mdqa.test has 4 rows, found 5"),
        ("evaluation.rows=5", "evaluation.rows: tasks.mdqa.test has 4 rows, found 5"),
        (
            "evaluation.metric=citation_f1",
            "evaluation.metric citation_f1: expected a gold document",
        ),
    ],
)
def test_what_must_fail_is_refused_at_the_plan(command: str, override: str, message: str, tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(STUDY))
    fails(2, message, "study", command, study, "--set", override, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_processes_of_a_launcher_do_not_wait_for_each_other_in_cells_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(STUDY))
    fails(2, "a launcher started 2 processes", "study", "run", tmp_path / "small.yaml", "--out", tmp_path / "out")
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


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"rope_theta": 5e5, "rope_scaling": None}, "extend.theta: expected at least the base of model, 500000"),
        ({"rope_theta": 1e4, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "model uses RoPE of type 'dynamic'"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "model uses RoPE of type 'longrope'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {}}}, ", 1e+0"),
        ({"rope_theta": 1e4, "rope_scaling": {"type": "mrope"}}, ""),  # loading may read it as another rule
        ({"rope_theta": 2e4}, ""),
    ],
)  # fmt: skip
def test_an_extension_that_the_base_does_not_take(
    rope: dict[str, Any], message: str, tmp_path: Path, model_folder: Path
) -> None:
    path = model_folder / "config.json"
    about = {key: value for key, value in json.loads(path.read_text()).items() if not key.startswith("rope")}
    path.write_text(json.dumps(about | rope | {"max_position_embeddings": 128}))
    study = tmp_path / "small.yaml"
    small = {"model": str(model_folder), "similarity": None, "patching": None, "extend": {"theta": 2e4}}
    study.write_text(yaml.safe_dump(STUDY | small))
    command = ("study", "plan", study, "--out", tmp_path / "out")
    assert "base" in passes(*command) if not message else fails(2, message, *command) is None


def test_test_rows_may_share_the_split_where_their_seed_is_another(tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(STUDY | {"test_split": "train", "test_seed": 7}))
    assert "base" in passes("study", "plan", study, "--out", tmp_path / "out")


def test_a_layer_of_packed_codes_says_nothing_of_its_sides(tmp_path: Path) -> None:
    codes = {"model.layers.0.self_attn.q_proj.weight": torch.zeros(64, 1, dtype=torch.uint8)}
    save_file(codes | {"model.layers.0.mlp.up_proj.weight": torch.zeros(64, 16)}, tmp_path / "model.safetensors")
    found = products_in(tmp_path)
    assert {name: (one.group, one.side) for name, one in found.items()} == {
        "q_proj": ("attention", None),
        "up_proj": ("mlp", 16),
    }
