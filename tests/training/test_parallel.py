"""Two processes on a CPU train what one trains: rows of a step apart, rows cut in chunks, weights shared."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_decoders import VOCABULARY
from tiny_rows import random_rows
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from two_processes import CASES, CONFIG, RUNS, adapted, both, refused, step

from haymaker.config import TrainConfig
from haymaker.errors import ConfigError, ModelError, OutputError
from haymaker.models.load import LanguageModel, load_model
from haymaker.training.batches import chunks_of, lay_out
from haymaker.training.checks import verified_method
from haymaker.training.loop import train
from haymaker.training.parallel import World


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    new_model: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
) -> Path:
    """A saved tiny Llama with its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    new_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def found(folder: Path, place: Path) -> dict[str, Any]:
    """What two processes find."""
    return both(folder, place, "work", code=-9)


@pytest.fixture(scope="module")
def alone_with_it(folder: Path, place: Path, found: dict[str, Any]) -> str:
    """What one process is told of the state that two left."""
    return refused(folder, place, "killed", config=RUNS["both"].changed(context_parallel=1, shard=False))


@pytest.fixture(scope="module")
def again(folder: Path, place: Path, alone_with_it: str) -> dict[str, Any]:
    """What two new processes find."""
    return both(folder, place, "work_again")


@pytest.fixture(scope="module")
def alone(folder: Path, place: Path, found: dict[str, Any]) -> Any:
    """One process's run of the same rows."""
    lm = load_model(folder, dtype="float32")
    return train(lm, random_rows(7), CONFIG, place / "one", on_progress=lambda steps: None)


# ---- rows apart


def test_every_row_of_a_step_goes_to_one_group_of_processes() -> None:
    for context in (1, 2):
        shares = [World(rank, 6, context).share(list(range(8))) for rank in range(0, 6, context)]
        assert sorted(sum(shares, [])) == list(range(8))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert World(2, 6, 2).share(list(range(8))) == World(3, 6, 2).share(list(range(8)))


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_end_where_one_does(name: str, place: Path, found: dict[str, Any], alone: Any) -> None:
    assert found[name].record["processes"] == 2
    for here, there in zip(found[name].metrics, alone.metrics, strict=True):
        assert here["loss"] == pytest.approx(there["loss"], rel=1e-5)
        assert here["gradient_norm"] == pytest.approx(there["gradient_norm"], rel=1e-4)
    first, second = (load_file(place / run / "adapter_model.safetensors") for run in ("one", name))
    assert first.keys() == second.keys()
    for matrix in first:
        torch.testing.assert_close(first[matrix], second[matrix], rtol=1e-3, atol=5e-5)  # Adam, of roundings


@pytest.mark.parametrize("name", RUNS)
def test_the_folder_is_the_one_that_one_process_writes(
    name: str, place: Path, folder: Path, found: dict[str, Any], alone: Any
) -> None:
    assert sorted(os.listdir(place / name)) == sorted(os.listdir(place / "one"))
    lines = (place / name / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]  # one process writes
    assert load_model(folder, adapter=place / name, dtype="float32").adapter == place / name  # its logits are proven


# ---- stopped


def test_a_run_that_one_process_is_asked_to_stop_goes_on_to_the_same_bits(place: Path, found: dict[str, Any]) -> None:
    assert "stopped after step 1 of 3; " in found["Ctrl-C"]
    assert found["stopped"].record["resumed_from"] == 1
    assert same_bits(place / "stopped", place / "both")


def test_a_run_of_which_a_process_was_killed_goes_on_to_the_same_bits(
    place: Path, found: dict[str, Any], again: dict[str, Any]
) -> None:
    assert found["SIGKILL"].startswith("another process of this run ended, or cannot be reached any more")
    assert again["killed"].record["resumed_from"] == 2
    assert [line["loss"] for line in again["killed"].metrics] == [line["loss"] for line in found["both"].metrics]
    assert same_bits(place / "killed", place / "both")


def same_bits(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)


def test_it_does_not_go_on_where_sums_would_be_rounded_in_another_order(
    alone_with_it: str, again: dict[str, Any]
) -> None:
    left = "its state was left by a run of processes 2, context_parallel 2, shard True, and this one has processes "
    assert f"{left}1, context_parallel 1, shard False" in alone_with_it
    assert f"{left}2, context_parallel 1, shard False" in again["rows apart"]


def test_processes_that_were_given_other_rows_do_not_train_together(again: dict[str, Any]) -> None:
    assert "have not the same model, rows and config" in again["other rows in process 1"]


def test_what_the_first_process_cannot_do_ends_all_of_them() -> None:
    def full() -> None:
        raise OutputError("no room")

    with pytest.raises(OutputError, match="no room"):
        World().by_first(full)
    assert World().by_first(lambda: 3) == 3


# ---- rows cut


@pytest.mark.parametrize(("kind", "rung"), CASES)
def test_rows_cut_in_chunks_have_the_loss_and_the_gradient_of_whole_ones(
    kind: str, rung: str, found: dict[str, Any]
) -> None:
    loss, gradient = found[f"{kind} {rung}"]
    whole_loss, whole = step(kind, rung, World())
    assert loss == pytest.approx(whole_loss, rel=1e-12)
    assert whole.norm() > 0
    assert float((gradient - whole).norm() / whole.norm()) < 1e-6  # transformers' norms are in float32


def test_an_architecture_that_runs_its_own_layers_shares_its_weights_too(found: dict[str, Any]) -> None:
    loss, gradient = found["gpt2 full"]
    whole_loss, whole = step("gpt2", "none", World(), "head")
    assert loss == pytest.approx(whole_loss, rel=1e-12)
    assert float((gradient - whole).norm() / whole.norm()) < 1e-10
    assert whole.norm() > 0


def test_but_it_does_not_share_rows() -> None:
    row = random_rows(1, vocabulary=VOCABULARY)[0]
    with pytest.raises(ModelError, match="context_parallel: .*and this one, gpt2, runs its own"):
        verified_method(adapted("gpt2"), row, torch.device("cpu"), World(0, 2, 2))


@pytest.mark.parametrize("size", [2, 3])
def test_every_token_and_every_answer_row_is_in_one_process_with_about_the_same_work(size: int) -> None:
    batch = lay_out(random_rows(3, 40, answer=12), torch.device("cpu"))
    parts = [chunks_of(batch, rank, size) for rank in range(size)]
    places = [part.layout.places(batch.ids.device) for part in parts]  # type: ignore[attr-defined]
    whole = torch.cat(places).sort().values
    assert whole.tolist() == list(range(len(whole)))
    assert len(whole) - batch.ids.shape[1] < 2 * size  # padding
    assert len({int(place.sum()) for place in places}) == 1  # of keys seen
    answers = []
    for part, place in zip(parts, places, strict=True):
        for i, row in enumerate(part.rows):
            kept = part.counted[i]
            answers += list(
                zip([i] * int(kept.sum()), place[row][kept].tolist(), part.targets[i][kept].tolist(), strict=True)
            )
    expected = [
        (i, position, int(target))
        for i in range(3)
        for position, target, counted in zip(batch.rows[i].tolist(), batch.targets[i], batch.counted[i], strict=True)
        if counted
    ]
    assert sorted(answers) == sorted(expected)


# ---- started


def test_the_command_that_torchrun_starts_speaks_once(folder: Path, place: Path) -> None:
    document = {"text": "The key is in the barn.", "gold": True}
    row = {"question": "Where is the key?", "answers": ["In the barn."], "documents": [document]}
    (place / "rows.jsonl").write_text(json.dumps(row))
    done = both(folder, place, "command")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["steps"] == 1
    assert json.loads((place / "command" / "training.json").read_text())["processes"] == 2


# ---- refused


@pytest.mark.parametrize(
    ("values", "said"), [({"context_parallel": 2}, "but 1 was started"), ({"shard": True}, "one was started")]
)
def test_one_process_cannot_share(lm: LanguageModel, tmp_path: Path, values: dict[str, Any], said: str) -> None:
    before = dict(lm.model.state_dict())
    with pytest.raises(ConfigError, match=said):
        train(lm, random_rows(3), CONFIG.changed(**values), tmp_path / "out", on_progress=lambda steps: None)
    assert dict(lm.model.state_dict()).keys() == before.keys()


def test_heads_are_not_tracked_where_no_process_has_the_weights() -> None:
    with pytest.raises(ConfigError, match="track: heads are read by one process"):
        TrainConfig(shard=True, track={"every": 1})


def test_a_key_that_is_at_its_default_changes_no_key_of_a_study() -> None:
    assert {"context_parallel", "shard"}.isdisjoint(TrainConfig().model_dump())
    assert TrainConfig(**TrainConfig(shard=True).model_dump()).shard
