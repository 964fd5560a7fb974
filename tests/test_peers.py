"""The same work by TransformerLens, nnsight and pyvene gives the same numbers; each where its package is installed.

Their packages are the extra `bench`. benchmarks/peers is run with the same code, larger and with clocks.
"""

import copy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


def peer_of(name: str) -> Any:
    pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[bench]'", exc_type=ImportError)
    return import_module(f"benchmarks.peers.{name}").Peer


@pytest.mark.parametrize(("name", "count"), [("transformer_lens", 5), ("nnsight", 3), ("pyvene", 2)])
def test_a_peer_computes_what_we_compute(name: str, count: int) -> None:
    peer = peer_of(name)
    work = import_module("benchmarks.peers.work")
    difference = import_module("benchmarks.peers.__main__").difference
    models = work.random_llama(work.SMALL, 0), work.random_llama(work.SMALL, 1)
    task = work.Work(work.SMALL)
    with torch.no_grad():
        ours = task.of(work.Haymaker(*models))
        theirs = task.of(peer(*copy.deepcopy(models)))
        found = {name: difference(ours[name](), act()) for name, act in theirs.items()}
        effect = (ours["zero one head: logits"]() - models[0](input_ids=task.ids).logits).abs().max()
    assert len(found) == count
    assert max(found.values()) < 1e-4 < effect
