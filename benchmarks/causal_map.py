"""What a causal map of every head costs, over one plain forward per head.

A random Llama, one prompt, a gold answer of a few tokens. Before anything is timed, the map must equal edits made one
by one (a sample of heads; `--check-all` takes every head). Then plain forwards and maps take turns. Peak memory is that
of a process of its own, for a plain forward with a cache and for the map.

    python benchmarks/causal_map.py --tokens 4096 --layers 8 --heads 16 --answer 8 --repeats 5
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from haymaker.attention.edits import Zero, edit
from haymaker.interventions.branches import Trunk
from haymaker.models.handshake import library_versions

RESULTS = Path(__file__).parent / "results" / "causal_map.md"


class Task:
    """A model, a prompt and an answer."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        torch.manual_seed(0)
        width = chosen.heads * chosen.head_dim
        config = LlamaConfig(
            vocab_size=chosen.vocabulary, hidden_size=width, intermediate_size=chosen.mlp,
            num_hidden_layers=chosen.layers, num_attention_heads=chosen.heads, num_key_value_heads=chosen.kv_heads,
            head_dim=chosen.head_dim, max_position_embeddings=chosen.tokens, initializer_range=0.05,
        )  # fmt: skip
        self.model: Any = LlamaForCausalLM(config).eval()
        ids = torch.randint(3, chosen.vocabulary, (chosen.tokens,), generator=torch.Generator().manual_seed(1))
        self.ids = ids.tolist()
        self.prompt, self.answer = self.ids[: -chosen.answer], self.ids[-chosen.answer :]

    @torch.no_grad()
    def plain(self) -> torch.Tensor:
        """log p of the answer's tokens from one forward with a cache."""
        cache = DynamicCache(config=self.model.config)
        logits = self.model(
            input_ids=torch.tensor([self.ids]), past_key_values=cache, use_cache=True,
            logits_to_keep=len(self.answer) + 1,
        ).logits[0, :-1]  # fmt: skip
        return logits.log_softmax(-1).gather(-1, torch.tensor(self.answer)[:, None])[:, 0]

    def map(self) -> torch.Tensor:
        """log p of the answer [1 + head], unedited first, then without each head."""
        trunk = Trunk(self.model, self.prompt)
        branches = [[], *([Zero([head])] for head in trunk.architecture.heads)]
        return trunk.log_probabilities(branches, self.answer).sum(-1)

    def check(self, every: bool) -> tuple[float, float]:
        """The largest difference from edits one by one, and the largest effect. AssertionError beyond 1e-4."""
        found, heads = self.map(), Trunk(self.model, self.prompt).architecture.heads
        plain = self.plain().sum()
        chosen = range(len(heads)) if every else range(0, len(heads), 7)
        worst = float((found[0] - plain).abs())
        for i in chosen:
            with edit(self.model, Zero([heads[i]]), scope=list(range(len(self.prompt) - 1, len(self.ids)))):
                worst = max(worst, float((found[1 + i] - self.plain().sum()).abs()))
        assert worst < 1e-4, f"the map differs from edits one by one by {worst}"
        return worst, float((found[1:] - found[0]).abs().max())


def seconds(act: Any) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def peak_mib(way: str) -> float:
    """Peak resident memory of a process that runs one way once."""
    output = subprocess.run([sys.executable, *sys.argv, "--only", way], check=True, capture_output=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])["peak_mib"]


def only(task: Task, way: str) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here, without what building the model took
    task.map() if way == "map" else task.plain()
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak_mib": int(peak.split()[1]) / 1024}))


def report(chosen: argparse.Namespace, task: Task) -> str:
    worst, largest = task.check(chosen.check_all)
    pairs = [(seconds(task.plain), seconds(task.map)) for _ in range(chosen.repeats)]
    plain, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    heads = chosen.layers * chosen.heads
    ratio = statistics.median(whole / (heads * plain) for plain, whole in pairs)
    memory = peak_mib("plain"), peak_mib("map")
    return f"""# Causal map of every head

{heads} heads ({chosen.layers} layers x {chosen.heads}, {chosen.kv_heads} KV heads of {chosen.head_dim}, MLP \
{chosen.mlp}, vocabulary {chosen.vocabulary}), {chosen.tokens} tokens of which {chosen.answer} answer, float32, \
{torch.get_num_threads()} threads; medians of {chosen.repeats} turns. {json.dumps(library_versions())}

| | |
|---|---|
| plain forward with cache | {plain:.2f} s |
| map of all heads | {whole:.2f} s, {whole / plain:.2f} plain forwards |
| map over {heads} plain forwards | 1/{1 / ratio:.0f} (target 1/60) |
| peak memory, plain | {memory[0]:.0f} MiB |
| peak memory, map | {memory[1]:.0f} MiB, {memory[1] / memory[0]:.2f} times (target 1.5) |
| largest difference from edits one by one | {worst:.1e} nats (bound 1e-4; largest effect {largest:.2f}) |
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = dict(tokens=4096, layers=8, heads=16, kv_heads=8, head_dim=64, mlp=2816, vocabulary=8000, answer=8)
    for name, value in (sizes | dict(repeats=5)).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--check-all", action="store_true", help="compare every head, not one in seven")
    parser.add_argument("--only", choices=["plain", "map"], help="run one way once and print its peak memory")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    task = Task(chosen)
    if chosen.only:
        return only(task, chosen.only)
    text = report(chosen, task)
    print(text)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(text)


if __name__ == "__main__":
    main()
