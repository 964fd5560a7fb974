"""Make a base in which few heads copy, out of a trained one: `python tools/miniature/sparsify.py --out DIR`.

Round by round the copying heads that the held-out loss misses least are taken out for good (queries and outputs faint,
and the queries meaningless), and the others learn on for some steps, until as many copy as shall be left. `--window`
makes it a Mistral that sees so many tokens; `--heads` first adds silent ones to every layer. Runs resume by default.
`remake.py` makes the two bases that ship.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lessons import FULL, Phase, batches
from pretrain import MODELS, PretrainConfig, accuracy, load_state, loss_of, optimizers, save_state
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

import haymaker as hm
from haymaker.errors import DataError
from haymaker.file_reading import read_json
from haymaker.files import write_json
from haymaker.miniature.world import World
from haymaker.models.load import LanguageModel
from haymaker.training.state import tensors_digest

COPIES = 0.08  # a score over which a head counts as one that copies: below 0.1, so that none comes to it by chance
FAINT = (
    0.02  # of a head that is gone: with nothing left, adapters in a layer of such heads alone would have no gradient
)
FIRST_ROW = 100_000  # of the steps' rows: none that pre-training has seen
ROWS_A_SEED = 10_000  # more than any run takes steps
Head = tuple[int, int]


@dataclass(frozen=True)
class SparsifyConfig:
    """How many heads copy in the end, and how the others go; `language` is the share of rows that are prose alone.

    faint: the share of its outputs and queries that a head keeps which is gone.
    """

    keep: int = 4
    heads_a_round: int = 3
    steps_a_round: int = 60
    last_steps: int = 180
    rate: float = 0.004
    language: float = 0.0
    heads: int | None = None
    window: int | None = None
    faint: float = FAINT
    seed: int = 0

    @property
    def phase(self) -> Phase:
        return Phase(1, 128, 2_048, FULL, 0.2, self.rate, self.rate, self.language)


def outputs_of(model: Any, layer: int) -> Tensor:
    """The output matrix of a layer as [hidden, head, dimension]."""
    weight = model.model.layers[layer].self_attn.o_proj.weight
    return weight.view(weight.shape[0], -1, model.config.head_dim)


def queries_of(model: Any, layer: int) -> Tensor:
    """The query matrix of a layer as [head, dimension, hidden]."""
    weight = model.model.layers[layer].self_attn.q_proj.weight
    return weight.view(-1, model.config.head_dim, weight.shape[1])


class Pruning:
    """A model, the heads that were taken out of it, and what it goes on learning with."""

    def __init__(self, model: Any, tokenizer: Any, config: SparsifyConfig) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.steps, self.begins_with = 0, tensors_digest(model.state_dict())
        self.look_for_gone()
        self.base = PretrainConfig()
        self.optimizers = optimizers(model, self.base)
        self.rates = [[group["lr"] for group in one.param_groups] for one in self.optimizers]
        held_out = replace(config.phase, cloze=0.0, language=0.0, tokens_per_step=64 * self.base.context)
        self.held_out = next(batches(tokenizer, World("dev"), [(0, held_out)]))
        recipe = hm.Recipe(task="mdqa", setting="real", length=self.base.context, rows=40, seed=11, split="dev")
        self.rows = hm.build(recipe, tokenizer)

    def outputs(self, layer: int) -> Tensor:
        return outputs_of(self.model, layer)

    def queries(self, layer: int) -> Tensor:
        return queries_of(self.model, layer)

    def silent(self) -> Tensor:
        """[layer, head]: whether a head's queries are faint; such heads are gone from the start."""
        layers = range(self.model.config.num_hidden_layers)
        norms = torch.stack([self.queries(layer).detach().norm(dim=(1, 2)) for layer in layers])
        return norms < 2 * FAINT * norms.max()

    def look_for_gone(self) -> None:
        """Take heads that are faint now for gone, and what they have for what they keep."""
        self.gone = self.silent()
        layers = range(len(self.gone))
        self.faint_outputs = [self.outputs(layer).detach().clone() for layer in layers]
        self.faint_queries = [self.queries(layer).detach().clone() for layer in layers]

    @torch.no_grad()
    def bury(self) -> None:
        """Heads that are gone look everywhere alike, and say next to nothing."""
        for layer, gone in enumerate(self.gone):
            self.outputs(layer)[:, gone] = self.faint_outputs[layer][:, gone]
            self.queries(layer)[gone] = self.faint_queries[layer][gone]

    def scores(self) -> Tensor:
        """Copy scores [layer, head] on held-out rows."""
        self.model.requires_grad_(False)
        lm = LanguageModel(model=self.model.eval(), tokenizer=self.tokenizer, name="sparsified")
        found = torch.tensor(hm.detect_heads(lm, self.rows, metric="copy").mean)
        self.model.requires_grad_(True)
        return found

    @torch.no_grad()
    def answer_loss(self) -> float:
        ids, weights = self.held_out
        return loss_of(self.model, ids, (weights == 1).float()).item()

    @torch.no_grad()
    def loss_without(self, head: Head) -> float:
        """The held-out loss of answers while a head says nothing."""
        outputs = self.outputs(head[0])
        kept = outputs[:, head[1]].clone()
        outputs[:, head[1]] = 0
        loss = self.answer_loss()
        outputs[:, head[1]] = kept
        return loss

    def learn(self, steps: int, final_share: float = 1.0) -> None:
        """Go on learning; the rate goes linearly to `final_share` of itself."""
        first = FIRST_ROW + ROWS_A_SEED * self.config.seed + self.steps
        plan = [(first + step, self.config.phase) for step in range(steps)]
        for step, batch in enumerate(batches(self.tokenizer, World("pretrain"), plan)):
            share = 1 + (final_share - 1) * step / steps
            for optimizer, full in zip(self.optimizers, self.rates, strict=True):
                for group, rate in zip(optimizer.param_groups, full, strict=True):
                    group["lr"] = rate * share * self.config.rate / self.base.muon_rate
            loss_of(self.model, *batch).backward()
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            self.bury()
        self.steps += steps

    def copying(self) -> list[Head]:
        return [(layer, head) for layer, head in torch.nonzero(self.scores() > COPIES).tolist()]

    def take_out(self, copying: list[Head]) -> None:
        """The heads of `copying` that the loss misses least, as many as a round takes out."""
        count = min(self.config.heads_a_round, len(copying) - self.config.keep)
        for layer, head in sorted(copying, key=self.loss_without)[:count]:
            self.gone[layer, head] = True
            outputs, queries = self.outputs(layer)[:, head].detach(), self.queries(layer)[head].detach()
            self.faint_outputs[layer][:, head] = self.config.faint * outputs
            # Turned by one dimension of the hidden state: faint queries alone would look where they looked before.
            self.faint_queries[layer][head] = self.config.faint * queries.roll(1, -1)
        self.bury()

    def run(self, folder: Path) -> None:
        """Take heads out until `keep` copy, also after the last steps. A round leaves a line of the log and a state."""
        self.go_on(folder)
        cooled = False
        with (folder / "training_log.jsonl").open("a") as file:
            while True:
                copying = self.copying()
                print(json.dumps(self.record(copying)), file=file, flush=True)
                if len(copying) > self.config.keep:
                    self.take_out(copying)
                    self.learn(self.config.steps_a_round)
                    save_state(folder, self.model, self.optimizers, self.steps)
                    cooled = False
                elif cooled:
                    return
                else:
                    self.learn(self.config.last_steps, 0.0)
                    cooled = True

    def go_on(self, folder: Path) -> None:
        """Take up the last round that `folder` holds. Raises DataError where its run had another config."""
        folder.mkdir(parents=True, exist_ok=True)
        path, mine = folder / "pruning.json", {**asdict(self.config), "begins_with": self.begins_with}
        if path.exists() and (before := read_json(path)) != mine:
            raise DataError(f"{folder}: holds another run ({before}), this one is {mine}; give another folder")
        write_json(path, mine)
        if steps := load_state(folder, self.model, self.optimizers):
            self.steps = steps
            self.look_for_gone()

    def record(self, copying: list[Head]) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "gone": int(self.gone.sum()),
            "copying": [f"{layer}-{head}" for layer, head in copying],
            "answer_loss": round(self.answer_loss(), 4),
            "exact_match": round(accuracy(self.model, self.tokenizer, self.base), 4),
        }


# ---- the model it begins with


def beginning(folder: Path, config: SparsifyConfig) -> PreTrainedModel:
    """The model of `folder` in float32, as a Mistral where it shall have a window, with the heads it shall have."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    shape = model.config.to_dict() | {"num_attention_heads": config.heads or model.config.num_attention_heads}
    groups = model.config.num_attention_heads // model.config.num_key_value_heads
    shape.pop("sliding_window", None)
    shape["num_key_value_heads"] = shape["num_attention_heads"] // groups
    for name in ("model_type", "architectures", "transformers_version"):
        shape.pop(name, None)
    torch.manual_seed(config.seed)
    if config.window is None:
        grown: Any = LlamaForCausalLM(LlamaConfig(**shape))
    else:
        grown = MistralForCausalLM(MistralConfig(**shape, sliding_window=config.window))
    fill(grown.float().state_dict(), model.state_dict())
    return grown


@torch.no_grad()
def fill(new: dict[str, Tensor], old: dict[str, Tensor]) -> None:
    """Put the old weights in; further heads look anywhere, at half the old scale, and say nothing."""
    for name, tensor in old.items():
        if new[name].shape == tensor.shape:
            new[name].copy_(tensor)
        elif "o_proj" in name:
            new[name].zero_()[:, : tensor.shape[1]] = tensor
        else:
            new[name].normal_(0, float(tensor.std()) / 2)[: tensor.shape[0]] = tensor


def publish(folder: Path, pruning: Pruning, source: str) -> None:
    """Write the model folder that ships: weights in bfloat16, tokenizer, training record."""
    pruning.model.to(torch.bfloat16).save_pretrained(folder)
    pruning.tokenizer.save_pretrained(folder)
    pruning.model.float()
    record = {
        "config": asdict(pruning.config),
        "source": source,
        "steps": pruning.steps,
        "gone": [f"{layer}-{head}" for layer, head in torch.nonzero(pruning.gone).tolist()],
        "exact_match": accuracy(pruning.model, pruning.tokenizer, pruning.base, rows=400),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in pruning.model.parameters()),
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", type=Path, default=MODELS / "llama", help="folder of the trained model")
    parser.add_argument("--steps", type=int, default=60, help="of learning behind each round; three times as many last")
    parser.add_argument("--keep", type=int, default=4, help="heads that copy in the end")
    parser.add_argument("--window", type=int, help="tokens that a layer sees: a Mistral")
    parser.add_argument("--heads", type=int, help="heads a layer shall have; without, as many as it has")
    parser.add_argument("--language", type=float, default=0.0, help="share of rows that are prose alone")
    parser.add_argument("--seed", type=int, default=0, help="of the rows, and of the queries of heads that are added")
    chosen = parser.parse_args()
    given = {name: getattr(chosen, name) for name in ("keep", "window", "heads", "language", "seed")}
    config = SparsifyConfig(**given, steps_a_round=chosen.steps, last_steps=3 * chosen.steps)
    pruning = Pruning(beginning(chosen.source, config), AutoTokenizer.from_pretrained(chosen.source), config)
    pruning.run(chosen.out)
    publish(chosen.out, pruning, chosen.source.name)


if __name__ == "__main__":
    main()
