"""The same work by Haymaker and by TransformerLens, nnsight and pyvene: equal results, seconds and memory.

    pip install --constraint constraints.txt --editable '.[bench]'
    python -m benchmarks.peers             # minutes; writes benchmarks/results/peers.md
    python -m benchmarks.peers --small     # tiny model, prints

Each peer gets a copy of the same random Llama. A result that differs from ours by more than 1e-4 (of the largest number
in it; no token at all) stops the run. Ways take turns; a peer that is not installed is left out, and named.
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.work import SMALL, Haymaker, Shape, Work, random_llama
from benchmarks.tables import RESULTS, in_turns, machine, peak_mib_of, table, write_page

PEERS = ("transformer_lens", "nnsight", "pyvene")
TOLERANCE = 1e-4


def peer_class(name: str) -> Any:
    """The peer's class; ImportError where its package is missing."""
    return Haymaker if name == "haymaker" else import_module(f"benchmarks.peers.{name}").Peer


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Tokens that differ, or the largest absolute difference; AssertionError beyond the tolerance."""
    if not ours.is_floating_point():
        found, bound = float((ours != theirs).sum()), 0.0
    else:
        found, bound = float((ours - theirs).abs().max()), TOLERANCE * float(ours.abs().max())
    assert ours.shape == theirs.shape, f"shapes differ: {tuple(ours.shape)} and {tuple(theirs.shape)}"
    assert found <= bound, f"results differ by {found}, over {bound}"
    return found


def compare(name: str, shape: Shape, repeats: int) -> list[list[str]]:
    """A row of the table for each task that the peer can do."""
    work, model, donor = Work(shape), random_llama(shape, 0), random_llama(shape, 1)
    ours = work.of(Haymaker(model, donor))
    theirs = work.of(peer_class(name)(copy.deepcopy(model), copy.deepcopy(donor)))
    rows = []
    for number, (task, act) in enumerate(theirs.items()):
        found = difference(ours[task](), act())
        taken = in_turns({"ours": ours[task], "theirs": act}, repeats)
        seconds = {way: statistics.median(times) for way, times in taken.items()}
        tasks = list(ours)
        peaks = [] if shape is SMALL else [peak(one, tasks.index(task), shape) for one in ("haymaker", name)]
        written = f"{found:.0f}" if found == int(found) else f"{found:.1e}"
        rows.append([
            peer_class(name).package if number == 0 else "", task, written, f"{seconds['ours']:.3f}",
            f"{seconds['theirs']:.3f}", f"{seconds['theirs'] / seconds['ours']:.2f}", *(f"{mib:,.0f}" for mib in peaks),
        ])  # fmt: skip
    return rows


@cache
def peak(name: str, task: int, shape: Shape) -> float:
    """MiB that a task takes at most above what its process held before."""
    command = [sys.executable, "-m", "benchmarks.peers", "--only", name, str(task)]
    command += ["--tokens", str(shape.tokens)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(output.splitlines()[-1]))


def only(name: str, task: int, shape: Shape) -> None:
    work, tasks = Work(shape), list(Work(shape).of(Haymaker))
    peer = peer_class(name)(random_llama(shape, 0), random_llama(shape, 1))
    before, most = peak_mib_of(work.of(peer)[tasks[task]])
    print(json.dumps(most - before))


def page(shape: Shape, repeats: int) -> str:
    rows, missing, packages = [], [], []
    for name in PEERS:
        try:
            packages.append(peer_class(name).package)
        except ImportError as error:
            missing.append(f"{name} ({error})")
            continue
        rows += compare(name, shape, repeats)
    header = ["peer", "task", "difference", "ours, s", "theirs, s", "theirs / ours"]
    header += [] if shape is SMALL else ["ours, MiB", "theirs, MiB"]
    return "\n".join([
        "# Peers", "", f"`python -m benchmarks.peers`. {machine(packages)}", "",
        f"Random Llama, float32: {shape.layers} layers x {shape.heads} heads over {shape.kv_heads} KV heads of "
        f"{shape.head_dim}, hidden {shape.hidden}, MLP {shape.mlp}, {shape.tokens} tokens, {shape.rows} rows, "
        f"{shape.new_tokens} new tokens. Differences are the largest absolute ones (or tokens that differ); medians of "
        f"{repeats} turns; memory is the peak of a process above what it held before the work.", "",
        table(header, rows), "",
        *([f"Not installed: {', '.join(missing)}.", ""] if missing else []),
    ])  # fmt: skip


@torch.no_grad()
def main() -> None:
    warnings.simplefilter("ignore")  # the peers' own
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tiny model; prints, writes nothing")
    parser.add_argument("--tokens", type=int, default=Shape.tokens)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs=2, metavar=("PEER", "TASK"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    shape = SMALL if chosen.small else Shape(tokens=chosen.tokens)
    if chosen.only:
        only(chosen.only[0], int(chosen.only[1]), shape)
        return
    text = page(shape, chosen.repeats)
    print(text) if chosen.small else write_page(RESULTS / "peers.md", text)


if __name__ == "__main__":
    main()
