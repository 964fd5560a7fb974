"""Two processes on a CPU train the adapter that one trains, and a launcher's environment is all they need."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_rows import random_rows

from haymaker.config import TrainConfig
from haymaker.models.load import load_model
from haymaker.training.loop import train
from haymaker.training.parallel import World

CONFIG = TrainConfig(steps=3, batch=5, rank=2, rate=0.01, save_every=2)
ROOT = Path(__file__).parents[2]
WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from tiny_rows import random_rows
from haymaker.config import TrainConfig
from haymaker.models.load import load_model
from haymaker.training.loop import train

lm = load_model(Path(sys.argv[1]), dtype="float32")
result = train(lm, random_rows(7), TrainConfig(**CONFIG), Path(sys.argv[2]), on_progress=lambda steps: None)
assert result.record["processes"] == 2
"""


def test_every_row_of_a_step_goes_to_one_process() -> None:
    shares = [World(rank, 3).share(list(range(8))) for rank in range(3)]
    assert sorted(sum(shares, [])) == list(range(8))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_two_processes_end_where_one_does(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = WORKER.replace("**CONFIG", f"**{CONFIG.model_dump(mode='json')}")
    place = {"PYTHONPATH": str(ROOT / "src"), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    place |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", script, str(model_folder), str(tmp_path / "two")]
    other = subprocess.Popen(command, cwd=ROOT, env=os.environ | place | {"RANK": "1"})
    with monkeypatch.context() as patched:
        for name, value in (place | {"RANK": "0"}).items():
            patched.setenv(name, value)
        lm = load_model(model_folder, dtype="float32")
        train(lm, random_rows(7), CONFIG, tmp_path / "two", on_progress=lambda steps: None)
    assert other.wait(timeout=120) == 0
    lm = load_model(model_folder, dtype="float32")
    one = train(lm, random_rows(7), CONFIG, tmp_path / "one", on_progress=lambda steps: None)
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-6)
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(one.metrics) == 3  # one process writes
