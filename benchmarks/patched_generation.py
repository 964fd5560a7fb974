"""What patching costs: donor and recipient in one batch with heads copied from row to row, over the same batch plain.

A random Llama with two random LoRA adapters on q, k, v, o; one prompt, greedy answers over a cache. Before anything is
timed, the patched logits of every step must be those of two separate models in turns (1e-4 of the largest), and a model
patched into itself must be itself (1e-5, the rounding of threads). Then the ways take turns. Peak memory is that of a
process of its own.

    python benchmarks/patched_generation.py            # 8 layers, 1,024 tokens; writes results/patched_generation.md
    python benchmarks/patched_generation.py --smoke    # small; prints, writes nothing
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tables import RESULTS, in_turns, machine, median_ratio, peak_mib_of, table, write_page
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from haymaker.interventions.adapters import Shared, one_model, rows_as
from haymaker.interventions.lockstep import OneBatch, TwoModels
from haymaker.models.generation import Decoder
from haymaker.models.handshake import describe_base, weights_digest
from haymaker.models.load import LanguageModel
from haymaker.models.lora import add_lora, lora_parameters, save_adapter
from haymaker.models.packaged import MINIATURES
from haymaker.records import Head

SIZES = dict(
    tokens=1_024, new=16, layers=8, heads=16, kv_heads=8, head_dim=64, mlp=2_816, vocabulary=8_000, patched=16,
    repeats=7,
)  # fmt: skip
SMOKE = dict(tokens=64, new=4, layers=2, heads=4, kv_heads=2, head_dim=16, mlp=64, vocabulary=200, patched=2, repeats=2)
WAYS = {
    "plain": "both in one batch, plain",
    "some": "both in one batch, {patched} heads patched",
    "every": "both in one batch, all {all} heads patched",
    "turns": "two models in turns, {patched} heads patched",
}


class Plain(torch.nn.Module):
    """Recipient and donor as two rows of a batch, each on its own tokens."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared, self.model, self.config = shared, shared.model, shared.model.config

    def forward(self, **options: Any) -> Any:
        with rows_as(self.shared.names(1, 1)):
            return self.model(**options)


def adapted(chosen: argparse.Namespace, seed: int) -> LanguageModel:
    """The base model, the same for every seed, with a random adapter."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=chosen.vocabulary, hidden_size=chosen.heads * chosen.head_dim, intermediate_size=chosen.mlp,
        num_hidden_layers=chosen.layers, num_attention_heads=chosen.heads, num_key_value_heads=chosen.kv_heads,
        head_dim=chosen.head_dim, max_position_embeddings=chosen.tokens + chosen.new, initializer_range=0.05,
    )  # fmt: skip
    model = add_lora(LlamaForCausalLM(config), rank=8, alpha=16.0, seed=seed)
    torch.manual_seed(seed)
    for name, weight in lora_parameters(model).items():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")  # not used: prompts are token ids
    return LanguageModel(model.requires_grad_(False).eval(), tokenizer, "random Llama")


def save_donor(lm: LanguageModel, folder: Path) -> None:
    """The donor's adapter as `train` leaves it, so that it can be lent to the recipient's base model."""
    save_adapter(lm.model, folder, lm.name)
    describe_base(lm, weights_digest(lm.model)).save(folder)


class Task:
    """A prompt, a recipient, and the ways to answer with the donor beside it or in it."""

    def __init__(self, chosen: argparse.Namespace, shared: Shared) -> None:
        self.chosen, self.shared = chosen, shared
        generator = torch.Generator().manual_seed(1)
        self.prompt = tuple(torch.randint(3, chosen.vocabulary, (chosen.tokens,), generator=generator).tolist())
        self.all = tuple(Head(layer, head) for layer in range(chosen.layers) for head in range(chosen.heads))
        self.heads = self.all[:: len(self.all) // chosen.patched][: chosen.patched]

    @cached_property
    def donor(self) -> LanguageModel:
        """The donor as a model of its own."""
        return adapted(self.chosen, 1)

    @cached_property
    def recipient(self) -> LanguageModel:
        """The recipient as a model of its own, where the shared one carries the donor too."""
        return adapted(self.chosen, 2)

    def plain(self) -> Tensor:
        return self.answer(Plain(self.shared), 2)

    def some(self) -> Tensor:
        return self.patched(self.shared, self.heads)

    def every(self) -> Tensor:
        return self.patched(self.shared, self.all)

    def turns(self) -> Tensor:
        return self.answer(TwoModels(self.donor.model, self.recipient.model, self.heads), 1)

    def patched(self, shared: Shared, heads: tuple[Head, ...]) -> Tensor:
        with closing(OneBatch(shared, [heads], 1)) as model:
            return self.answer(model, 1)

    def answer(self, model: Any, rows: int) -> Tensor:
        """Logits [step, row, token] of a greedy answer."""
        decoder = Decoder(model, [self.prompt] * rows)
        found = [decoder.prefill()]
        for _ in range(self.chosen.new - 1):
            found.append(decoder.step(found[-1].argmax(-1)))
        return torch.stack(found)

    def check(self) -> dict[str, float]:
        """Raises AssertionError unless patching is what it says. Differences, as shares of the largest logit."""
        expected, plain = self.turns(), self.plain()[:, :1]
        largest = float(expected.abs().max())
        found = {
            "from two models": float((self.some() - expected).abs().max()) / largest,
            "of the plain recipient from itself patched": self.identity() / largest,
            "effect": float((expected[0] - plain[0]).abs().max()) / largest,
        }
        assert found["from two models"] < 1e-4, found
        # With several threads a matrix product rounds equal rows by their place, so not quite zero.
        assert found["of the plain recipient from itself patched"] < 1e-5, found
        assert found["effect"] > 1e-2, found
        return found

    def identity(self) -> float:
        """How far the recipient in its own place, all heads patched, is from the same batch without a patch."""
        own = Shared(self.shared.model, self.shared.recipient, self.shared.recipient)
        return float((self.patched(own, self.all) - self.answer(Plain(own), 2)[:, :1]).abs().max())


def ways_of(task: Task) -> dict[str, Callable[[], Any]]:
    return {name: getattr(task, name) for name in WAYS}


def peak_of(way: str, folder: Path) -> dict[str, float]:
    """MiB of a process that only runs one way."""
    command = [sys.executable, *sys.argv, "--only", way, "--donor", str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def only(chosen: argparse.Namespace) -> dict[str, float]:
    """One way once; two models are not one model with two adapters, so either is loaded alone."""
    recipient = adapted(chosen, 2)
    if chosen.only == "turns":
        task = Task(chosen, Shared(recipient.model, None, None))
        task.__dict__["recipient"] = recipient
        _ = task.donor
        before, most = peak_mib_of(task.turns)
    else:
        with one_model(chosen.donor, recipient) as shared:
            before, most = peak_mib_of(getattr(Task(chosen, shared), chosen.only))
    return {"before": before, "peak": most}


def page(chosen: argparse.Namespace, checked: dict[str, float], taken: dict[str, list[float]], peaks: Any) -> str:
    names = {way: text.format(patched=chosen.patched, all=chosen.layers * chosen.heads) for way, text in WAYS.items()}
    rows = [
        [
            names[way],
            f"{statistics.median(times):.3f}",
            f"**{median_ratio(times, taken['plain']):.3f}**",
            f"{peaks[way]['peak']:,.0f}",
            f"{peaks[way]['peak'] - peaks[way]['before']:,.0f}",
        ]
        for way, times in taken.items()
    ]
    header = ["way", "median seconds", "over plain", "peak MiB of the process", "of it while answering"]
    return "\n".join([
        "# Patched generation", "", machine(), "",
        f"Random Llama, {chosen.layers} layers x {chosen.heads} heads ({chosen.kv_heads} KV heads of "
        f"{chosen.head_dim}), MLP {chosen.mlp}, float32; two LoRA adapters of rank 8 on q, k, v, o. A prompt of "
        f"{chosen.tokens:,} tokens and {chosen.new} new ones; {chosen.repeats} turns. Ratios are medians over turns "
        "(target: at most 1.1).", "",
        table(header, rows), "",
        f"Checked first: patched logits of every step differ from two models' by {checked['from two models']:.1e} of "
        f"the largest (bound 1e-4; the patch's own effect is {checked['effect']:.2f}); the recipient patched into "
        f"itself, all heads, differs by {checked['of the plain recipient from itself patched']:.1e} (bound 1e-5).", "",
    ])  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in SIZES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"default {value}")
    parser.add_argument("--smoke", action="store_true", help="small, for its own sake; prints, writes nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--donor", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    for name, value in (SMOKE if chosen.smoke else SIZES).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def main() -> None:
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    if chosen.only:
        print(json.dumps(only(chosen)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "donor"
        save_donor(adapted(chosen, 1), folder)
        with one_model(folder, adapted(chosen, 2)) as shared:
            task = Task(chosen, shared)
            checked = task.check()
            taken = in_turns(ways_of(task), chosen.repeats)
        peaks = {way: peak_of(way, folder) for way in WAYS}
    text = page(chosen, checked, taken, peaks)
    if chosen.smoke:
        print(text)
    else:
        write_page(RESULTS / "patched_generation.md", text)


if __name__ == "__main__":
    main()
