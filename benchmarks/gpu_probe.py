"""The probe on a GPU: exactness of its rows, of logits and of generation, and what it costs."""

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from gpu_common import Page, Setting
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from haymaker.attention.calls import Call, Tool
from haymaker.attention.hook import attach, decoder_of
from haymaker.attention.probing import probe
from haymaker.attention.seen import Seen
from haymaker.records import Span

ROWS, NEW_TOKENS = 16, 32
TOLERANCE = 1e-4  # of probabilities, fp32 scores from bfloat16 queries and keys
ROUNDING = 2.0**-5  # of the largest logit: what roundings of bfloat16 may add up to in 32 layers
HEADER = [
    "tokens", "rows from float64", "same positions", "plain forward, s", "probe / plain", f"generate {NEW_TOKENS}, s",
    "with probe / without", "plain, MiB", "probe adds, MiB",
]  # fmt: skip


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


class Kernels(TorchDispatchMode):
    """Counts the attention operations that torch chooses, with the shapes of queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, given: tuple = (), named: dict | None = None) -> Any:
        if "attention" in operation.__name__:
            inputs = [value for value in given if isinstance(value, Tensor)][:3]
            self.seen[(operation.__name__, *((tuple(value.shape), value.stride()) for value in inputs))] += 1
        return operation(*given, **(named or {}))


@dataclass(frozen=True)
class Generated:
    """Tokens of one greedy generation [new] and the logits that chose them [new, vocabulary]."""

    tokens: Tensor
    logits: Tensor

    def first_difference(self, other: "Generated") -> int:
        """Steps before the two part, and from there read different prompts."""
        differ = (self.tokens != other.tokens).nonzero()
        return int(differ[0]) if len(differ) else len(self.tokens)

    def distance(self, other: "Generated") -> float:
        """Largest difference of logits that answer the same prompt, over the largest logit."""
        steps = min(self.first_difference(other) + 1, len(self.tokens))
        return float((self.logits[:steps] - other.logits[:steps]).abs().max() / self.logits.abs().max())

    def margin(self, step: int) -> float:
        """How far the best logit is above the second, over the largest."""
        best = self.logits[step].topk(2).values
        return float((best[0] - best[1]) / self.logits.abs().max())


class Bench:
    """One model and one length."""

    def __init__(self, setting: Setting, model: Any, tokens: int) -> None:
        self.setting, self.model, self.tokens = setting, model, tokens
        self.ids = setting.ids(model, tokens)
        self.rows = list(range(tokens - ROWS, tokens))
        self.span = Span(tokens // 3, tokens // 3 + 24)

    def plain(self) -> Tensor:
        return self.model(input_ids=self.ids, use_cache=False, logits_to_keep=ROWS).logits

    def probe(self) -> tuple[Tensor, Seen]:
        with probe(self.model, self.rows, {"needle": self.span}) as seen:
            logits = self.plain()
        return logits, seen

    def generate(self, new_tokens: int = NEW_TOKENS) -> Generated:
        found = self.model.generate(
            self.ids, max_new_tokens=new_tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        return Generated(found.sequences[0, self.tokens :], torch.cat(found.logits).float())

    def generate_with_probe(self, new_tokens: int = NEW_TOKENS) -> Generated:
        with probe(self.model, range(self.tokens - 1, self.tokens + new_tokens - 1), {"needle": self.span}):
            return self.generate(new_tokens)

    def kernels(self, act: Callable[[int], Any]) -> Counter[tuple[Any, ...]]:
        with Kernels() as mode:
            act(3)
        return mode.seen

    def check(self) -> tuple[float, float]:
        """Largest difference of a row from float64, and the share of equal positions."""
        logits, seen = self.probe()
        assert torch.equal(logits, self.plain()), "logits differ with the probe on"
        exact = Exact(self.model, self.rows, seen, self.span)
        with attach(exact):
            self.plain()
        assert exact.worst <= TOLERANCE, f"rows differ by {exact.worst}"
        return exact.worst, statistics.mean(exact.same)

    def check_generation(self, page: Page) -> None:
        """With the probe the same kernels run, and nothing but roundings may differ: no more than plain ones do.

        Tokens are compared where roundings cannot choose them: random weights make near-ties.
        """
        plain, again, probed = self.generate(), self.generate(), self.generate_with_probe()
        kernels = self.kernels(self.generate), self.kernels(self.generate_with_probe)
        step, repeats = plain.first_difference(probed), plain.distance(again)
        distance, allowed = plain.distance(probed), max(ROUNDING, 2 * repeats)
        margin = plain.margin(step) if step < len(plain.tokens) else float("nan")
        same = "the same, layouts too" if kernels[0] == kernels[1] else f"with it {dict(operations(kernels[1]))}"
        parts = "never part" if step == len(plain.tokens) else f"part at step {step}, where the margin is {margin:.2e}"
        page.note(
            f"{self.tokens:,} tokens, generation: plain repeats itself {repeats or 'bit for bit'}; with the probe "
            f"logits of the same prompts differ by {distance:.2e} of the largest, tokens {parts}; attention operations "
            f"without it {dict(operations(kernels[0]))}, {same}",
            steps_equal=step, repeat_distance=repeats, distance=distance, margin=margin,
            kernels_plain=list(map(str, kernels[0].items())), kernels_probe=list(map(str, kernels[1].items())),
        )  # fmt: skip
        page.check(torch.equal(plain.logits[0], probed.logits[0]), "the prompt's logits differ with the probe on")
        page.check(operations(kernels[0]) == operations(kernels[1]), "another kernel runs with the probe on")
        page.check(distance <= allowed, f"logits differ by {distance:.2e} with the probe on, {allowed:.2e} allowed")
        tie = step == len(plain.tokens) or margin <= 2 * distance
        page.check(tie, f"tokens differ at step {step}, which is no tie")

    def ratio(self, some: Callable[[], Any], others: Callable[[], Any], repeats: int) -> tuple[float, float]:
        """Median seconds of the first, and median over turns of the second over the first."""
        pairs = [(self.setting.seconds(some), self.setting.seconds(others)) for _ in range(repeats)]
        return statistics.median(first for first, _ in pairs), statistics.median(b / a for a, b in pairs)


def operations(kernels: Counter[tuple[Any, ...]]) -> Counter[str]:
    """Calls by operation, whatever the layout of their inputs."""
    found: Counter[str] = Counter()
    for key, count in kernels.items():
        found[str(key[0])] += count
    return found


@torch.no_grad()
def measure_probe(setting: Setting, model: Any) -> None:
    page = Page(
        setting, "probe", "The probe",
        f"Random weights in Llama-3.1-8B's shape, bfloat16; {ROWS} rows, batch 1, sdpa. Logits are the same bits with "
        f"and without the probe. Medians of {setting.repeats} turns.", HEADER,
    )  # fmt: skip
    for number, tokens in enumerate(setting.lengths([32_768, 131_072])):
        bench = Bench(setting, model, tokens)
        worst, same = bench.check()
        row = [f"{tokens:,}", f"{worst:.1e}", f"{same:.4f}"]
        if number:  # one turn, and no generation: a forward takes twelve times as long
            plain, ratio, answers = *bench.ratio(bench.plain, bench.probe, 1), ["", ""]
        else:
            plain, ratio, answers = *bench.ratio(bench.plain, bench.probe, setting.repeats), generation(bench, page)
        peaks = [setting.measured(act)[1] / 2**20 for act in (bench.plain, bench.probe)]
        allowed = 1.05 * ROWS * model.config.num_attention_heads * tokens * 4 / 2**20
        added = peaks[1] - peaks[0]
        row += [f"{plain:.3f}", f"{ratio:.4f}", *answers, f"{peaks[0]:,.0f}"]
        page.add([*row, f"{added:,.0f} (at most {allowed:,.0f})"])
        page.check(not added > allowed, f"the probe takes {added:.0f} MiB, over rows x heads x tokens x 4 B + 5 %")
    page.finish()


def generation(bench: Bench, page: Page) -> list[str]:
    """Seconds of an answer, and how they change with the probe."""
    bench.check_generation(page)
    seconds, ratio = bench.ratio(bench.generate, bench.generate_with_probe, 1)
    return [f"{seconds:.3f}", f"{ratio:.4f}"]
