"""What a probe costs: seconds and peak memory of a forward without it, with it, and with eager `output_attentions`.

The same random Llama, tokens and rows; the ways take turns, and the median of their ratios counts. Nothing is timed
before logits with the probe equal logits without it bit for bit, and its rows those of eager attention (where its
matrices fit into memory) and of a plain float64 softmax over every row (always). Run it on an idle machine:

    python benchmarks/probe_overhead.py            # 4,096, 16,384 and 32,768 tokens; about half an hour on two cores
    python benchmarks/probe_overhead.py --smoke    # seconds; prints, writes nothing
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from tables import RESULTS, in_turns, machine, median_ratio, peak_mib_of, table, write_page
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from haymaker.attention.calls import Call, Tool
from haymaker.attention.canary import check_architecture
from haymaker.attention.hook import attach, decoder_of
from haymaker.attention.probing import _Probe, probe
from haymaker.attention.seen import Seen
from haymaker.records import Span

TOLERANCE = 1e-5  # of probabilities
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, MLP, ROWS = 1024, 16, 8, 64, 2816, 16


@dataclass(frozen=True)
class Case:
    """tokens: length; eager: whether eager attention's matrices fit, a number for each head and pair of tokens."""

    tokens: int
    layers: int
    repeats: int
    eager: bool = False


FULL = [Case(4_096, 8, 9, eager=True), Case(16_384, 4, 3), Case(32_768, 2, 3)]
SMOKE = [Case(384, 2, 3, eager=True), Case(768, 2, 2)]


class Exact(Tool):
    """Attention of the probed rows by the textbook: repeated keys, a softmax of the whole row in float64."""

    def __init__(self, model: Any, rows: list[int]) -> None:
        super().__init__(decoder_of(model))
        self.rows, self.weights = rows, []

    def observe(self, call: Call, output: Tensor) -> None:
        keys = call.key.repeat_interleave(HEADS // KV_HEADS, 1).double()
        scores = call.query[:, :, self.rows].double() @ keys.transpose(2, 3) * call.scaling
        later = torch.arange(keys.shape[2]) > torch.tensor(self.rows)[:, None]
        self.weights.append(scores.masked_fill(later, -torch.inf).softmax(-1))


class Ways:
    """The ways to run one forward of the same model."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=1_000, hidden_size=HIDDEN, intermediate_size=MLP, num_hidden_layers=case.layers,
            num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM,
            max_position_embeddings=case.tokens, initializer_range=0.05,
        )  # fmt: skip
        self.model: Any = LlamaForCausalLM(config).eval()
        self.ids = torch.randint(3, 1_000, (1, case.tokens), generator=torch.Generator().manual_seed(0))
        self.rows = list(range(case.tokens - ROWS, case.tokens))  # as in teacher forcing of an answer
        self.spans = {"needle": Span(case.tokens // 3, case.tokens // 3 + 24), "start": Span(0, 4)}

    def plain(self, **options: Any) -> Any:
        return self.model(input_ids=self.ids, use_cache=False, logits_to_keep=ROWS, **options)

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

    def exact(self) -> Tensor:
        tool = Exact(self.model, self.rows)
        with attach(tool):
            self.plain()
        return torch.stack(tool.weights)


def check(ways: Ways, case: Case) -> dict[str, float]:
    """Largest differences of probabilities; AssertionError if the probe changes logits or misreads a row."""
    logits, seen = ways.probe()
    assert torch.equal(logits, ways.plain().logits), "logits differ with the probe on"
    found = {"exact": differences(seen, ways.exact(), ways.spans)}
    if case.eager:
        found["eager"] = differences(seen, torch.stack([layer[:, :, ways.rows] for layer in ways.eager()]), ways.spans)
    return found


def differences(seen: Seen, weights: Tensor, spans: dict[str, Span]) -> float:
    """Of top probabilities and span masses from weights [layer, batch, head, row, key]; positions must be the same."""
    assert torch.equal(seen.top_position[..., 0], weights.argmax(-1)), "the most attended positions differ"
    found = [seen.top_probability[..., 0] - weights.amax(-1)]
    found += [seen.mass[name] - weights[..., span.slice].sum(-1) for name, span in spans.items()]
    worst = max(float(difference.abs().max()) for difference in found)
    assert worst <= TOLERANCE, f"rows differ by {worst}"
    return worst


class Clock:
    """Seconds that the probe's own reading takes, inside one forward."""

    def __enter__(self) -> "Clock":
        self.seconds, self.observe = 0.0, _Probe.observe

        def timed(*args: Any) -> None:
            started = time.perf_counter()
            self.observe(*args)
            self.seconds += time.perf_counter() - started

        _Probe.observe = timed
        return self

    def __exit__(self, *_: Any) -> None:
        _Probe.observe = self.observe


def peak(case: Case, way: str) -> dict[str, float]:
    """Peak memory of a process that only runs one way, once."""
    command = [sys.executable, __file__, "--threads", str(torch.get_num_threads()), "--only", way]
    command += [str(case.tokens), str(case.layers)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(case: Case) -> dict[str, Any]:
    ways = Ways(case)
    checked = check(ways, case)
    taken = in_turns({"plain": ways.plain, "probe": ways.probe}, case.repeats)
    if case.eager:
        taken |= in_turns({"eager": ways.eager}, min(3, case.repeats))
    own = []
    for _ in range(3):
        with Clock() as clock:
            ways.probe()
        own.append(clock.seconds)
    names = list(taken)
    del ways  # its memory, for the processes that are measured
    return {
        "case": case, "checked": checked, "taken": taken, "own": statistics.median(own),
        "peak": {name: peak(case, name) for name in names},
    }  # fmt: skip


def page(found: list[dict[str, Any]]) -> str:
    return "\n".join([
        "# What a probe costs", "",
        f"`python benchmarks/probe_overhead.py`. {machine()}", "",
        f"Random Llama: hidden {HIDDEN}, {HEADS} query heads over {KV_HEADS} KV heads of {HEAD_DIM}, MLP {MLP}, "
        f"float32, sdpa; {ROWS} rows, two spans, batch 1, no cache. The ways take turns; ratios are medians over "
        "turns. Logits are bit-identical with and without the probe, and the most attended positions those of the "
        "oracle, or nothing would have been timed.", "",
        table(["tokens", "layers", "turns", "plain, s", "probe, s", "probe / plain (median)", "lowest to highest",
               "difference from float64 rows (bound 1e-5)"], [_row(one) for one in found]), "",
        "A token costs a forward two operations per weight, and its attention; it costs the probe two per row, head "
        "and dimension, beside a fixed cost per layer. So the ratio grows with the rows, and falls with length and "
        "width. The probe's own time (a clock around its reading) grows with length, not with its square:", "",
        table(["tokens", "probe's own, ms per layer", "share of the plain forward",
               "per layer and 1,024 tokens, ms"], [_own(one) for one in found]), "",
        *[_against_eager(one) for one in found if one["case"].eager],
        "Peak resident memory of a process that runs one forward, above what it holds before, MiB:", "",
        table(["tokens", "layers", "plain", "probe", "eager `output_attentions`"], [_memory(one) for one in found]), "",
    ])  # fmt: skip


def _row(one: dict[str, Any]) -> list[str]:
    case, plain, probed = one["case"], one["taken"]["plain"], one["taken"]["probe"]
    ratios = [b / a for a, b in zip(plain, probed, strict=True)]
    return [
        f"{case.tokens:,}", str(case.layers), str(case.repeats), f"{statistics.median(plain):.3f}",
        f"{statistics.median(probed):.3f}", f"**{median_ratio(probed, plain):.4f}**",
        f"{min(ratios):.4f} to {max(ratios):.4f}", f"{one['checked']['exact']:.1e}",
    ]  # fmt: skip


def _own(one: dict[str, Any]) -> list[str]:
    case, layer = one["case"], one["own"] / one["case"].layers
    share = one["own"] / statistics.median(one["taken"]["plain"])
    return [f"{case.tokens:,}", f"{1e3 * layer:.2f}", f"{share:.4f}", f"{1e3 * layer * 1024 / case.tokens:.3f}"]


def _against_eager(one: dict[str, Any]) -> str:
    plain, probed, eager = (statistics.median(one["taken"][name]) for name in ("plain", "probe", "eager"))
    own = max(probed - plain, one["own"])  # the difference of two forwards may be lost in their noise
    return (
        f"Against eager `output_attentions=True` at {one['case'].tokens:,} tokens ({eager:.3f} s; rows differ by "
        f"{one['checked']['eager']:.1e}, positions by none): what it adds to a plain forward is "
        f"**{(eager - plain) / own:.0f} times** what the probe adds ({eager - plain:.3f} s over {own:.4f} s, the "
        "larger of the probe's own time and the difference of medians); the whole forward takes "
        f"{eager / probed:.1f} times as long.\n"
    )


def _memory(one: dict[str, Any]) -> list[str]:
    peaks = {name: f"{found['peak_mib'] - found['before_mib']:,.0f}" for name, found in one["peak"].items()}
    needed = HEADS * one["case"].tokens ** 2 * 4 / 2**20
    eager = peaks.get("eager", f"not run: {needed:,.0f} for one layer's matrix")
    return [f"{one['case'].tokens:,}", str(one["case"].layers), peaks["plain"], peaks["probe"], eager]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small, for its own sake; prints, writes nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tokens", type=int, help="one length only, with --layers and --repeats; prints")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs=3, metavar=("WAY", "TOKENS", "LAYERS"), help=argparse.SUPPRESS)
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    if chosen.only:
        way, tokens, layers = chosen.only
        ways = Ways(Case(int(tokens), int(layers), 1))
        check_architecture(ways.model)  # once per model, not part of a forward
        before, most = peak_mib_of(getattr(ways, way))
        print(json.dumps({"before_mib": before, "peak_mib": most}))
        return
    one = [Case(chosen.tokens, chosen.layers, chosen.repeats, eager=True)] if chosen.tokens else []
    text = page([measure(case) for case in one or (SMOKE if chosen.smoke else FULL)])
    if one or chosen.smoke:
        print(text)
    else:
        write_page(RESULTS / "probe_overhead.md", text)


if __name__ == "__main__":
    main()
