"""Pre-train the miniature base models from scratch: `python tools/miniature/pretrain.py llama --out DIR`.

The rows are those of `lessons.py`, their contexts grow by phases from 64 to 128 tokens, never beyond. Muon trains the
matrices, AdamW the embeddings and norms. Runs resume by default.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lessons import FULL, LEDGER, TERSE, Phase, batches
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from haymaker.files import whole_file
from haymaker.miniature.world import World

MODELS = Path(__file__).parents[2] / "src" / "haymaker" / "miniature" / "models"
SAVE_EVERY = 100  # steps
PHASES = (
    Phase(700, 64, 2_048, LEDGER, 1.0, 0.01, 0.01),
    Phase(800, 96, 2_048, TERSE, 0.5, 0.01, 0.01),
    Phase(2_500, 128, 2_048, FULL, 0.2, 0.01, 0.0),
)


def with_language(share: float, steps: int) -> tuple[Phase, ...]:
    """The phases with `share` of the last one's rows prose alone, and that phase `steps` long."""
    return (*PHASES[:-1], replace(PHASES[-1], language=share, steps=steps))


# What was tried (docs/log.md): more and smaller heads, other work for them, and a price on every head.
MANY_HEADS: dict[str, Any] = dict(layers=6, heads=16, key_value_heads=8, head_dim=16)
DESIGNS: dict[str, dict[str, Any]] = {
    "dense": {},
    "heads": MANY_HEADS,
    "language": {**MANY_HEADS, "phases": with_language(0.5, 4_000)},
    "lasso-small": {**MANY_HEADS, "head_penalty": 0.05},
    "lasso": {**MANY_HEADS, "head_penalty": 0.15},
    "lasso-large": {**MANY_HEADS, "head_penalty": 0.4},
    "language-lasso": {**MANY_HEADS, "head_penalty": 0.15, "phases": with_language(0.5, 4_000)},
    "deep-lasso": {**MANY_HEADS, "layers": 8, "head_penalty": 0.15},
}


@dataclass(frozen=True)
class PretrainConfig:
    """Shape of a base model and how it is trained; lengths in tokens.

    head_penalty: what a step takes off the norm of every head's output matrix, as a share of Muon's rate (group lasso):
    heads that add little go to zero, so that few copy.
    """

    architecture: str = "llama"
    hidden: int = 128
    layers: int = 4
    heads: int = 8
    key_value_heads: int = 4
    head_dim: int = 32
    feed_forward: int = 256
    context: int = 128
    window: int | None = None
    warmup_steps: int = 50
    muon_rate: float = 0.01
    embedding_rate: float = 0.01
    adam_rate: float = 0.003
    embedding_deviation: float = 1.0
    seed: int = 0
    head_penalty: float = 0.0
    phases: tuple[Phase, ...] = PHASES

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def at(self, step: int) -> tuple[Phase, float]:
        """The phase of a step, and the share of the full rate at it."""
        first = 0
        for phase in self.phases:
            if step < first + phase.steps:
                progress = (step - first) / phase.steps
                rate = phase.rate + progress * (phase.final_rate - phase.rate)
                return phase, rate / self.muon_rate * min(1.0, (step + 1) / self.warmup_steps)
            first += phase.steps
        raise IndexError(f"step {step} of {self.steps}")


def new_model(config: PretrainConfig, vocabulary: int) -> PreTrainedModel:
    shared: dict[str, Any] = dict(
        vocab_size=vocabulary,
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.key_value_heads,
        head_dim=config.head_dim,
        intermediate_size=config.feed_forward,
        max_position_embeddings=config.context,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    torch.manual_seed(config.seed)
    if config.architecture == "mistral":
        model = MistralForCausalLM(MistralConfig(**shared, sliding_window=config.window))
    else:
        model = LlamaForCausalLM(LlamaConfig(**shared))
    # Muon lets every layer write at full strength from the first steps; embeddings of the usual 0.02 would drown.
    embeddings: Any = model.get_input_embeddings()
    torch.nn.init.normal_(embeddings.weight, std=config.embedding_deviation)
    return model


# ---- optimisation


def optimizers(model: Any, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    named = list(model.named_parameters())
    embeddings = [p for name, p in named if "embed" in name]
    others = [p for name, p in named if "embed" not in name and (p.ndim != 2 or "lm_head" in name)]
    matrices = [p for name, p in named if "embed" not in name and p.ndim == 2 and "lm_head" not in name]
    groups = [{"params": embeddings, "lr": config.embedding_rate}, {"params": others, "lr": config.adam_rate}]
    return [
        torch.optim.Muon(matrices, lr=config.muon_rate, weight_decay=0.0, adjust_lr_fn="original"),
        torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def loss_of(model: Any, ids: Tensor, weights: Tensor) -> Tensor:
    logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


@torch.no_grad()
def shrink_heads(model: Any, config: PretrainConfig, amount: float) -> None:
    """The proximal step of a group lasso over heads: each head's columns of `o_proj` lose `amount` of their norm."""
    for layer in model.model.layers:
        weight = layer.self_attn.o_proj.weight
        heads = weight.view(weight.shape[0], config.heads, config.head_dim)
        norm = heads.norm(dim=(0, 2), keepdim=True)
        heads.mul_((1 - amount / norm.clamp_min(1e-12)).clamp_min(0.0))


def train_step(model: Any, chosen: list[torch.optim.Optimizer], batch: tuple[Tensor, Tensor]) -> float:
    # In bfloat16 only on a GPU: on a CPU the backward pass of flash attention takes several times as long in it.
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=model.device.type != "cpu"):
        loss = loss_of(model, *(part.to(model.device) for part in batch))
    loss.backward()
    for optimizer in chosen:
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


@torch.no_grad()
def accuracy(model: Any, tokenizer: Any, config: PretrainConfig, rows: int = 64) -> float:
    """Share of held-out answers, at the full context, whose every token is the model's first choice."""
    held_out = replace(config.phases[-1], cloze=0.0, tokens_per_step=rows * config.context)
    ids, weights = next(batches(tokenizer, World("dev"), [(0, held_out)]))
    right = model(input_ids=ids.to(model.device)).logits[:, :-1].argmax(-1).cpu() == ids[:, 1:]
    answer = weights[:, 1:] == 1
    hits = []
    for row_right, row_answer in zip(right, answer, strict=True):
        starts = torch.flatten(torch.nonzero(row_answer & ~torch.roll(row_answer, 1)))
        stops = torch.flatten(torch.nonzero(row_answer & ~torch.roll(row_answer, -1))) + 1
        hits += [bool(row_right[a:b].all()) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    return sum(hits) / len(hits)


# ---- state on disk


def save_state(folder: Path, model: Any, chosen: list[torch.optim.Optimizer], step: int) -> None:
    """Weights and optimizer moments in one safetensors file that replaces the old one at once."""
    tensors = {f"model/{name}": p.detach() for name, p in model.named_parameters()}
    for i, optimizer in enumerate(chosen):
        for j, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{i}/{j}/{key}": torch.as_tensor(value) for key, value in state.items()}
    with whole_file(folder / "state.safetensors") as scratch:
        save_file({k: v.contiguous() for k, v in tensors.items()}, scratch, {"step": str(step)})


def load_state(folder: Path, model: Any, chosen: list[torch.optim.Optimizer]) -> int:
    """Restore what `save_state` wrote; the number of finished steps, 0 where nothing was written."""
    path = folder / "state.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model/{name}"])
    for i, optimizer in enumerate(chosen):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer/{i}/"):
                _, _, j, key = name.split("/")
                state.setdefault(int(j), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def publish(folder: Path, model: Any, tokenizer: Any, config: PretrainConfig, seconds: float) -> None:
    """Write the model folder that ships: weights in bfloat16, tokenizer, training record."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.float()
    record = {
        "config": asdict(config),
        "exact_match": accuracy(model, tokenizer, config, rows=400),
        "seconds_of_last_run": round(seconds),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def pretrain(config: PretrainConfig, out: Path, tokenizer_folder: Path, compiled: bool, device: str) -> None:
    """Train `config` to its last step, from where `out` stopped, and publish the model in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    model: Any = new_model(config, len(tokenizer))
    model = model.to(device)
    chosen = optimizers(model, config)
    first = load_state(out, model, chosen)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers(model, config)]
    run: Any = torch.compile(model) if compiled else model
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, (out / "log.jsonl").open("a") as log:
        bar = progress.add_task("pre-train", total=config.steps, completed=first)
        plan = [(step, config.at(step)[0]) for step in range(first, config.steps)]
        for step, batch in enumerate(batches(tokenizer, World("pretrain"), plan), first):
            for optimizer, full in zip(chosen, rates, strict=True):
                for group, rate in zip(optimizer.param_groups, full, strict=True):
                    group["lr"] = rate * config.at(step)[1]
            loss = train_step(run, chosen, batch)
            if config.head_penalty:
                shrink_heads(model, config, config.head_penalty * config.muon_rate * config.at(step)[1])
            progress.update(bar, advance=1, description=f"loss {loss:.3f}")
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == config.steps:
                save_state(out, model, chosen, step + 1)
                score = accuracy(model, tokenizer, config)
                log.write(json.dumps({"step": step + 1, "loss": round(loss, 4), "exact_match": round(score, 4)}) + "\n")
                log.flush()
    publish(out, model, tokenizer, config, time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture", choices=("llama", "mistral"))
    parser.add_argument("--design", choices=DESIGNS, default="dense")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; run again to resume")
    parser.add_argument("--tokenizer", type=Path, default=MODELS / "llama", help="folder of the world's tokenizer")
    parser.add_argument("--compile", action="store_true", help="torch.compile: faster after a minute")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    window = 64 if chosen.architecture == "mistral" else None
    config = PretrainConfig(architecture=chosen.architecture, window=window, **DESIGNS[chosen.design])
    pretrain(config, chosen.out, chosen.tokenizer, chosen.compile, chosen.device)


if __name__ == "__main__":
    main()
