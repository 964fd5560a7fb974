"""The probe, generation under it, and the causal map on one CUDA GPU: an 8B shape at 32K and 128K tokens.

Random weights in the shape of Llama-3.1-8B, bfloat16, made on the device: no network, no files. Before anything is
timed, logits with the probe must equal those without it bit for bit, and its rows a float64 softmax over all keys.
Lengths that do not fit raise the device's own error; nothing is skipped.

    python benchmarks/gpu.py                 # 80 GB; writes benchmarks/results/gpu-<name>.md
    python benchmarks/gpu.py --tokens 32768  # one length
    python benchmarks/gpu.py --tiny          # the same steps on a CPU, small; prints
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from tables import RESULTS, machine, table, write_page
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from haymaker.attention.edits import Zero
from haymaker.attention.hook import Call, Tool, attach, decoder_of
from haymaker.attention.probing import probe
from haymaker.attention.seen import Seen
from haymaker.interventions.branches import Trunk
from haymaker.records import Span

ROWS, ANSWER, NEW_TOKENS = 16, 8, 32
TOLERANCE = 1e-4  # of probabilities, fp32 scores from bfloat16 queries and keys
SHAPE_8B = dict(
    vocab_size=128_256, hidden_size=4_096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=8, head_dim=128, max_position_embeddings=131_072 + 64,
    rope_parameters=dict(
        rope_type="llama3", rope_theta=500_000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8_192,
    ),
)  # fmt: skip
SHAPE_TINY = SHAPE_8B | dict(
    vocab_size=500, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16,
)  # fmt: skip


def random_llama(shape: dict[str, Any], device: str) -> Any:
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = LlamaForCausalLM._from_config(LlamaConfig(**shape), dtype=torch.bfloat16).eval()
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    return model


class Exact(Tool):
    """Compares every layer's rows with a float64 softmax over all keys, one KV head at a time."""

    def __init__(self, model: Any, rows: list[int], seen: Seen, span: Span) -> None:
        super().__init__(decoder_of(model))
        self.rows, self.seen, self.span = rows, seen, span
        self.worst, self.same = 0.0, []

    def observe(self, call: Call, output: Tensor) -> None:
        later = torch.arange(call.key.shape[2]) > torch.tensor(self.rows)[:, None]
        group = call.query.shape[1] // call.key.shape[1]
        for kv_head in range(call.key.shape[1]):
            heads = slice(kv_head * group, (kv_head + 1) * group)
            queries, keys = call.query[0, heads][:, self.rows].double(), call.key[0, kv_head].double()
            scores = (queries @ keys.T * call.scaling).masked_fill(later.to(keys.device), -torch.inf)
            weights = scores.softmax(-1)
            self._note(self.seen.top_probability[call.layer, 0, heads, :, 0], weights.amax(-1))
            self._note(self.seen.mass["needle"][call.layer, 0, heads], weights[..., self.span.slice].sum(-1))
            ours = self.seen.top_position[call.layer, 0, heads, :, 0]
            self.same.append((ours == weights.argmax(-1).cpu()).double().mean().item())

    def _note(self, ours: Tensor, theirs: Tensor) -> None:
        self.worst = max(self.worst, float((ours - theirs.cpu()).abs().max()))


class Bench:
    """One model and one length."""

    def __init__(self, model: Any, tokens: int, device: str) -> None:
        self.model, self.tokens, self.device = model, tokens, device
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(3, model.config.vocab_size, (1, tokens), generator=generator)
        self.ids = ids.to(device)
        self.rows = list(range(tokens - ROWS, tokens))
        self.span = Span(tokens // 3, tokens // 3 + 24)

    def plain(self) -> Tensor:
        return self.model(input_ids=self.ids, use_cache=False, logits_to_keep=ROWS).logits

    def probe(self) -> tuple[Tensor, Seen]:
        with probe(self.model, self.rows, {"needle": self.span}) as seen:
            logits = self.plain()
        return logits, seen

    def generate(self) -> Tensor:
        return self.model.generate(self.ids, max_new_tokens=NEW_TOKENS, do_sample=False)

    def generate_with_probe(self) -> Tensor:
        with probe(self.model, range(self.tokens - 1, self.tokens + NEW_TOKENS - 1), {"needle": self.span}):
            return self.generate()

    def causal_map(self) -> Tensor:
        """log p of the answer without each head [head], and before them with all."""
        ids = self.ids[0].tolist()
        trunk = Trunk(self.model, ids[:-ANSWER])
        branches = [[], *([Zero([head])] for head in trunk.architecture.heads)]
        return trunk.log_probabilities(branches, ids[-ANSWER:]).sum(-1)

    def check(self) -> tuple[float, float]:
        """Largest difference of a row from float64, and the share of equal positions."""
        logits, seen = self.probe()
        assert torch.equal(logits, self.plain()), "logits differ with the probe on"
        assert torch.equal(self.generate(), self.generate_with_probe()), "generated tokens differ with the probe on"
        exact = Exact(self.model, self.rows, seen, self.span)
        with attach(exact):
            self.plain()
        assert exact.worst <= TOLERANCE, f"rows differ by {exact.worst}"
        return exact.worst, statistics.mean(exact.same)

    def seconds(self, act: Callable[[], Any]) -> float:
        self._wait()
        started = time.perf_counter()
        act()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def ratio(self, some: Callable[[], Any], others: Callable[[], Any], repeats: int) -> tuple[float, float]:
        """Median seconds of the first, and median over turns of the second over the first."""
        pairs = [(self.seconds(some), self.seconds(others)) for _ in range(repeats)]
        return statistics.median(first for first, _ in pairs), statistics.median(b / a for a, b in pairs)

    def peak_mib(self, act: Callable[[], Any]) -> float:
        if self.device == "cpu":
            return float("nan")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        act()
        return torch.cuda.max_memory_allocated() / 2**20


def measure(bench: Bench, repeats: int) -> list[str]:
    """A row of the table."""
    worst, same = bench.check()
    plain, ratio = bench.ratio(bench.plain, bench.probe, repeats)
    answered, generating = bench.ratio(bench.generate, bench.generate_with_probe, repeats)
    mapped = bench.seconds(bench.causal_map)
    heads = bench.model.config.num_hidden_layers * bench.model.config.num_attention_heads
    peaks = [bench.peak_mib(act) for act in (bench.plain, bench.probe, bench.causal_map)]
    allowed = 1.05 * ROWS * bench.model.config.num_attention_heads * bench.tokens * 4 / 2**20
    if peaks[1] - peaks[0] > allowed:
        raise AssertionError(f"the probe takes {peaks[1] - peaks[0]:.0f} MiB, over rows x heads x tokens x 4 B + 5 %")
    return [
        f"{bench.tokens:,}", f"{worst:.1e}", f"{same:.4f}", f"{plain:.3f}", f"{ratio:.4f}", f"{answered:.3f}",
        f"{generating:.4f}", f"{mapped:.2f}", f"1/{heads * plain / mapped:.0f}", f"{peaks[0]:,.0f}",
        f"{peaks[1] - peaks[0]:,.0f} (at most {allowed:,.0f})", f"{peaks[2]:,.0f}",
    ]  # fmt: skip


HEADER = [
    "tokens", "rows from float64", "same positions", "plain forward, s", "probe / plain", f"generate {NEW_TOKENS}, s",
    "with probe / without", "causal map, s", "of heads x plain", "plain, MiB", "probe adds, MiB", "causal map, MiB",
]  # fmt: skip


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[32_768, 131_072])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="a small model on the CPU; prints, writes nothing")
    chosen = parser.parse_args()
    if not chosen.tiny and not torch.cuda.is_available():
        sys.exit("expected a CUDA GPU, found none: run this on one, or --tiny on a CPU")
    device, shape = ("cpu", SHAPE_TINY) if chosen.tiny else ("cuda", SHAPE_8B)
    model = random_llama(shape, device)
    rows = [measure(Bench(model, n, device), chosen.repeats) for n in ([256, 640] if chosen.tiny else chosen.tokens)]
    name = "CPU" if chosen.tiny else torch.cuda.get_device_name()
    text = "\n".join([
        f"# Probe and causal map on one {name}", "", f"`python benchmarks/gpu.py`. {machine()}", "",
        f"Random weights, bfloat16: {shape['num_hidden_layers']} layers x {shape['num_attention_heads']} heads over "
        f"{shape['num_key_value_heads']} KV heads of {shape['head_dim']}, hidden {shape['hidden_size']}; {ROWS} rows, "
        f"batch 1, sdpa. Logits and generated tokens are the same with and without the probe. The map has every head "
        f"and {ANSWER} answer tokens. Medians of {chosen.repeats} turns.", "", table(HEADER, rows), "",
    ])  # fmt: skip
    print(text) if chosen.tiny else write_page(RESULTS / f"gpu-{name.lower().replace(' ', '-')}.md", text)


if __name__ == "__main__":
    main()
