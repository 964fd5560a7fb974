"""50 steps of `hm.train` and of TRL's SFTTrainer on the same rows in the same order: the losses must be equal.

    python benchmarks/training_beside_trl.py [--steps 50] [--length 256] [--batch 4]

AdamW, a linear rate from the first step, gradients clipped to a norm of 1, float32. Needs the extra `bench`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from training_common import new_model, new_rows, peer
from transformers import AutoTokenizer

import haymaker as hm
from haymaker.models.load import LanguageModel
from haymaker.models.lora import add_lora, remove_lora
from haymaker.models.packaged import MINIATURES
from haymaker.records import Encoded
from haymaker.training.batches import rows_of_step

TOLERANCE = 1e-4  # relative, of every step's loss
VOCABULARY = 512


def our_losses(config: hm.TrainConfig, rows: list[Encoded], length: int, folder: Path) -> list[float]:
    base = remove_lora(new_model(2, length, VOCABULARY)).requires_grad_(False)
    lm = LanguageModel(base, AutoTokenizer.from_pretrained(MINIATURES / "llama"), "random")
    result = hm.train(lm, rows, config, folder, on_progress=lambda steps: None)
    return [line["loss"] for line in result.metrics]


def trl_losses(config: hm.TrainConfig, rows: list[Encoded], length: int, folder: Path) -> list[float]:
    """The same rows as a dataset in our order, read from its start."""
    ordered = [row for step in range(config.steps) for row in rows_of_step(rows, config.batch, config.seed, step)]
    trainer = peer(
        "TRL SFTTrainer", first_weights(length, config), ordered, str(folder), max_steps=config.steps,
        per_device_train_batch_size=config.batch, learning_rate=config.rate, lr_scheduler_type="linear",
        warmup_steps=0, weight_decay=0.0, max_grad_norm=config.clip_norm, logging_steps=1, save_strategy="no",
        train_sampling_strategy="sequential", disable_tqdm=True, optim="adamw_torch",
    )  # fmt: skip
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def first_weights(length: int, config: hm.TrainConfig) -> Any:
    """The adapter as `train` begins with it."""
    base = remove_lora(new_model(2, length, VOCABULARY))
    return add_lora(base, config.rank, config.alpha, config.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 50), ("length", 256), ("batch", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    config = hm.TrainConfig(steps=chosen.steps, batch=chosen.batch, rate=3e-3, warmup_share=0.0)
    rows = new_rows(8 * chosen.batch, chosen.length, 8, VOCABULARY)
    with tempfile.TemporaryDirectory() as home:
        ours = torch.tensor(our_losses(config, rows, chosen.length, Path(home) / "ours"))
        theirs = torch.tensor(trl_losses(config, rows, chosen.length, Path(home) / "theirs"))
    furthest = float(((ours - theirs).abs() / theirs).max())
    print(f"{len(ours)} steps: loss {ours[0]:.4f} to {ours[-1]:.4f}, TRL {theirs[0]:.4f} to {theirs[-1]:.4f}")
    print(f"largest relative difference {furthest:.1e}, {TOLERANCE:.0e} allowed")
    raise SystemExit(0 if len(ours) == len(theirs) == chosen.steps and furthest <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
