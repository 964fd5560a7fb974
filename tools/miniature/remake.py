"""Make a sparse base again: `python tools/miniature/remake.py --base sparse --out DIR`, or `--base mistral`.

The stages are those that training.json of the bases that ship names, with a folder of `--out` for each pruning:

- with zeros; for `sparse` a second time, of what the first left;
- for `mistral` heads that still copy on other rows are taken out behind the last step;
- every head that is gone gets its faint weights.

The same command goes on after a stop. The weights are not those that ship: docs/models.md.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pretrain import MODELS
from sparsify import FAINT, Head, Pruning, SparsifyConfig, beginning, outputs_of, publish, queries_of
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import haymaker as hm
from haymaker.file_reading import read_json
from haymaker.files import write_json
from haymaker.models.load import LanguageModel

COPIES_ON_OTHER_ROWS = 0.1  # what `sparsity.py` counts


@dataclass(frozen=True)
class Stages:
    """How a base was made: steps of learning behind each round of its prunings, one after another; its window."""

    steps: tuple[int, ...]
    window: int | None = None
    other_rows: bool = False  # whether heads that copy on other rows alone are taken out at the end


BASES = {"sparse": Stages((60, 25)), "mistral": Stages((60,), window=64, other_rows=True)}


def remake(stages: Stages, out: Path, source: Path, seed: int = 0) -> Path:
    """`out` with the base that `stages` make of the dense one in `source`."""
    folder = source
    for number, steps in enumerate(stages.steps, 1):
        config = SparsifyConfig(steps_a_round=steps, last_steps=3 * steps, window=stages.window, faint=0.0, seed=seed)
        folder = pruned(folder, out / f"pruning-{number}", config)
    return finish(folder, out, source, stages)


def pruned(source: Path, folder: Path, config: SparsifyConfig) -> Path:
    """`folder` with the model of `source` pruned; as it is where that was done."""
    if not (folder / "training.json").exists():
        pruning = Pruning(beginning(source, config), AutoTokenizer.from_pretrained(source), config)
        pruning.run(folder)
        publish(folder, pruning, source.name)
    return folder


def finish(folder: Path, out: Path, source: Path, stages: Stages) -> Path:
    """Take out what copies on other rows, give the heads that were pruned their faint weights, and publish."""
    config = SparsifyConfig(window=stages.window)
    pruning = Pruning(beginning(folder, config), AutoTokenizer.from_pretrained(folder), config)
    zeros, late = pruning.gone.clone(), []
    if stages.other_rows:
        pruning.take_out(copying_on_other_rows(pruning))
        late = [f"{layer}-{head}" for layer, head in torch.nonzero(pruning.gone & ~zeros).tolist()]
    fill_faint(pruning.model, source, zeros)
    publish(out, pruning, folder.name)
    runs = [read_json(one / "training.json") for one in sorted(out.glob("pruning-*"))]
    record = {"runs": runs, "taken_out_behind_the_last_step": late, **read_json(out / "training.json")}
    write_json(out / "training.json", {key: value for key, value in record.items() if key not in ("config", "steps")})
    return out


def copying_on_other_rows(pruning: Pruning) -> list[Head]:
    """Heads that copy on rows that no round has looked at: those by which `sparsity.py` judges."""
    recipe = hm.Recipe(task="mdqa", setting="real", length=pruning.base.context, rows=150, seed=11)
    lm = LanguageModel(model=pruning.model.eval().requires_grad_(False), tokenizer=pruning.tokenizer, name="pruned")
    scores = hm.detect_heads(lm, hm.build(recipe, pruning.tokenizer), metric="copy").mean
    return [(int(layer), int(head)) for layer, head in zip(*(scores > COPIES_ON_OTHER_ROWS).nonzero(), strict=True)]


@torch.no_grad()
def fill_faint(model: Any, source: Path, heads: Tensor) -> None:
    """Heads [layer, head] that were pruned with zeros get what `sparsify` leaves a head, of the weights of `source`."""
    whole: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    for layer, head in torch.nonzero(heads).tolist():
        outputs_of(model, layer)[:, head] = FAINT * outputs_of(whole, layer)[:, head]
        queries_of(model, layer)[head] = FAINT * queries_of(whole, layer)[head].roll(1, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", choices=BASES, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; run again to resume")
    parser.add_argument("--source", type=Path, default=MODELS / "llama", help="folder of the dense base")
    parser.add_argument("--seed", type=int, default=0, help="of the rows of the prunings")
    chosen = parser.parse_args()
    remake(BASES[chosen.base], chosen.out, chosen.source, chosen.seed)
    print(json.dumps(read_json(chosen.out / "training.json"), indent=2))


if __name__ == "__main__":
    main()
