"""What a probe costs: seconds and peak memory of a forward without it, with it, and with eager `output_attentions`.

The same random Llama, tokens and rows; the ways take turns, and medians are compared. Before anything is timed, logits
with the probe must equal logits without it bit for bit, and its rows must be those of eager attention. Run it on an
idle machine: `python benchmarks/probe_overhead.py --tokens 4096 --layers 8 --heads 16 --rows 16 --repeats 9`.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from haymaker.models.handshake import library_versions
from haymaker.probe import probe
from haymaker.records import Span
from haymaker.seen import Seen

WAYS = ("plain", "probe", "eager")


def new_model(chosen: argparse.Namespace) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1_000, hidden_size=chosen.heads * chosen.head_dim, num_hidden_layers=chosen.layers,
        intermediate_size=3 * chosen.heads * chosen.head_dim, num_attention_heads=chosen.heads,
        num_key_value_heads=chosen.kv_heads, head_dim=chosen.head_dim, max_position_embeddings=chosen.tokens,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).eval()
    return model.to(device=chosen.device, dtype=getattr(torch, chosen.dtype))


class Ways:
    """The three ways to run one forward of the same model."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen, self.model = chosen, new_model(chosen)
        ids = torch.randint(3, 1_000, (1, chosen.tokens), generator=torch.Generator().manual_seed(0))
        self.ids = ids.to(chosen.device)
        self.rows = list(range(chosen.tokens - chosen.rows, chosen.tokens))  # as in teacher forcing of an answer
        self.spans = {"needle": Span(chosen.tokens // 3, chosen.tokens // 3 + 24), "start": Span(0, 4)}

    def plain(self, **options: Any) -> Any:
        return self.model(input_ids=self.ids, use_cache=False, logits_to_keep=self.chosen.rows, **options)

    def probe(self) -> tuple[Tensor, Seen]:
        with probe(self.model, self.rows, self.spans) as seen:
            logits = self.plain().logits
        return logits, seen

    def eager(self) -> tuple[Tensor, ...]:
        self.model.set_attn_implementation("eager")
        try:
            return self.plain(output_attentions=True).attentions
        finally:
            self.model.set_attn_implementation("sdpa")

    def check(self) -> dict[str, float]:
        """Raises AssertionError unless the probe changes nothing and reads what eager attention computes."""
        logits, seen = self.probe()
        assert torch.equal(logits, self.plain().logits), "logits differ with the probe on"
        if self.chosen.without_eager:
            return {}
        weights = torch.stack([layer[:, :, self.rows].float().cpu() for layer in self.eager()])
        span = self.spans["needle"].slice
        return {
            "same_top_position": (seen.top_position[..., 0] == weights.argmax(-1)).float().mean().item(),
            "mass_difference": (seen.mass["needle"] - weights[..., span].sum(-1)).abs().max().item(),
        }


def seconds(way: Callable[[], Any], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    way()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_bytes(chosen: argparse.Namespace, way: str) -> int:
    """Peak memory of a process that only runs one way (on a GPU, of its allocator)."""
    command = [sys.executable, __file__, *sys.argv[1:], "--peak-of", way]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def own_peak(chosen: argparse.Namespace) -> int:
    ways = Ways(chosen)
    getattr(ways, chosen.peak_of, lambda: None)()  # "load" runs nothing
    if chosen.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    defaults = {"tokens": 4_096, "layers": 8, "heads": 16, "kv-heads": 4, "head-dim": 64, "rows": 16, "repeats": 9}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--without-eager", action="store_true", help="where its matrices do not fit")
    parser.add_argument("--peak-of", choices=["load", *WAYS], help=argparse.SUPPRESS)
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    if chosen.peak_of:
        print(own_peak(chosen))
        return
    ways, names = Ways(chosen), [name for name in WAYS if name != "eager" or not chosen.without_eager]
    checked = ways.check()
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(chosen.repeats):
        for name in names[turn % 2 :] + names[: turn % 2]:
            taken[name].append(seconds(getattr(ways, name), chosen.device))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    peaks = {name: peak_bytes(chosen, name) for name in ["load", *names]}
    found = {
        "arguments": vars(chosen),
        "machine": platform.machine(),
        "versions": library_versions(),
        "checked": {"bit_identical_logits": True, **checked},
        "seconds": {name: {"median": medians[name], "all": times} for name, times in taken.items()},
        "ratio_to_plain": {name: median / medians["plain"] for name, median in medians.items()},
        "overhead_of_eager_over_overhead_of_probe": overheads(medians),
        "peak_bytes_over_load": {name: peaks[name] - peaks["load"] for name in names},
    }
    print(json.dumps(found, indent=2))


def overheads(medians: dict[str, float]) -> float | None:
    """How much more eager attention adds to a plain forward; None where the probe's cost is lost in the noise."""
    if "eager" not in medians or medians["probe"] <= medians["plain"]:
        return None
    return (medians["eager"] - medians["plain"]) / (medians["probe"] - medians["plain"])


if __name__ == "__main__":
    main()
