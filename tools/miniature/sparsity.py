"""How sparse copying is in base models: `python tools/miniature/sparsity.py FOLDER ...` prints JSON, a line for each.

Rows of the world at the model's own context: the share of heads that score over 0.1, and F1 whole, without the best
tenth of heads, and without random heads of the same layers.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import haymaker as hm

ROWS, DRAWS, NEW_TOKENS = 150, 5, 12


def measured(folder: Path, length: int = 128) -> dict[str, Any]:
    """The figures of the model in `folder`, on rows of `length` tokens."""
    model = hm.load_model(folder, dtype="float32")
    recipe = hm.Recipe(task="mdqa", setting="real", length=length, rows=ROWS, seed=11, answer_room=NEW_TOKENS)
    rows = hm.build(recipe, model.tokenizer)
    scores = hm.detect_heads(model, rows, metric="copy")
    mean = scores.mean
    count = max(1, mean.size // 10)
    curve = hm.ablation_curve(model, rows, scores, sizes=(count,), draws=DRAWS, new_tokens=NEW_TOKENS)
    kinds = ("none", "retrieval", "random")
    f1 = {kind: [round(row["score"], 3) for row in curve if row["heads"] == kind] for kind in kinds}
    best = sorted(mean.flatten().tolist(), reverse=True)[:12]
    return {
        "model": folder.name,
        "heads": mean.size,
        "over_0.1": round(float((mean > 0.1).mean()), 3),
        "best": [round(score, 2) for score in best],
        "f1": f1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        print(json.dumps(measured(folder)), flush=True)


if __name__ == "__main__":
    main()
