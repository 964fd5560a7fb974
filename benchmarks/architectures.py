"""What works with which architecture: every causal one that transformers can build tiny, each law against its oracle.

    python benchmarks/architectures.py                        # all, in two processes; some three minutes
    python benchmarks/architectures.py --only llama,gemma2    # some, printed

A law (tests/architecture_laws.py) holds, is refused by a sentence of Haymaker's, is wrong (a number is off), or ends in
an error that is nobody's. None may be wrong. A process works through architectures one after the other, and is replaced
where one of them takes too long or ends it.
"""

import argparse
import logging
import multiprocessing
import queue
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tables import RESULTS, machine, table, write_page

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

OUTCOMES = ("right", "refused", "wrong", "error")
SECONDS = 120  # of one architecture's laws
DOCS = Path(__file__).resolve().parents[1] / "docs" / "architectures.md"
MARKS = {"right": "yes", "wrong": "**wrong**", "error": "**error**"}


class Verdict(NamedTuple):
    """What came of a law; `why` is the refusal, or what is wrong."""

    kind: str
    law: str
    outcome: str
    why: str = ""


def verdicts(kind: str) -> list[Verdict]:
    """All laws on one architecture."""
    from any_architecture import tiny
    from architecture_laws import LAWS, prompt, run

    try:
        run(tiny(kind), prompt())
    except Exception as error:  # whatever it lacks to be built tiny, or to run by itself
        return [Verdict(kind, "", "not built", f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")]
    return [judged(kind, law) for law in LAWS]


def judged(kind: str, law: str) -> Verdict:
    from any_architecture import tiny
    from architecture_laws import LAWS

    from haymaker.errors import HaymakerError

    try:
        LAWS[law](tiny(kind))
    except HaymakerError as error:
        return Verdict(kind, law, "refused", str(error))
    except AssertionError as error:
        return Verdict(kind, law, "wrong", str(error))
    except Exception as error:
        return Verdict(kind, law, "error", f"{type(error).__name__}: {error}")
    return Verdict(kind, law, "right")


# ---- processes


def work(jobs: Any, results: Any) -> None:
    """Judges what comes in, in one thread."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    while (kind := jobs.get()) is not None:
        found = verdicts(kind)
        print("\n".join(": ".join(one) for one in found), flush=True)
        results.put(found)


def shard(kinds: Sequence[str]) -> Iterator[list[Verdict]]:
    """Verdicts on each architecture, by a process that is replaced when one of them hangs or kills it."""
    context = multiprocessing.get_context("spawn")
    process: Any = None
    for kind in kinds:
        if process is None:
            jobs, results = context.Queue(), context.Queue()
            process = context.Process(target=work, args=(jobs, results), daemon=True)
            process.start()
        jobs.put(kind)
        found, process = waited(kind, process, results)
        yield found
    if process is not None:
        jobs.put(None)


def waited(kind: str, process: Any, results: Any) -> tuple[list[Verdict], Any]:
    """What a process finds, and the process where it lives on."""
    until = time.monotonic() + SECONDS
    while process.is_alive() and time.monotonic() < until:
        try:
            return results.get(timeout=1), process
        except queue.Empty:
            continue
    ended = f"took more than {SECONDS} s" if process.is_alive() else f"ended the process with {process.exitcode}"
    process.kill()
    return [Verdict(kind, "", "error", ended)], None


def all_verdicts(kinds: Sequence[str], shards: int) -> list[Verdict]:
    """Verdicts on all architectures, in `shards` processes."""
    with ThreadPoolExecutor(shards) as threads:  # each waits for its own process
        parts = threads.map(lambda start: list(shard(kinds[start::shards])), range(shards))
        return sorted(one for part in parts for found in part for one in found)


# ---- the page


def page(found: Sequence[Verdict], laws: Sequence[str]) -> str:
    """The table and every refusal, as a page of the documentation."""
    built = sorted({one.kind for one in found if one.outcome != "not built"})
    reasons = numbered(found)
    by_place = {(one.kind, one.law): mark(one, reasons) for one in found if one.law}
    unbuilt = [[one.kind, one.why.replace("|", "/")] for one in found if one.outcome == "not built"]
    rows = [[kind, *(by_place.get((kind, law), "**wrong**") for law in laws)] for kind in built]
    counts = Counter((one.law, one.outcome) for one in found)
    totals = [[law, *(counts[law, outcome] for outcome in OUTCOMES)] for law in laws]
    lines = [f"{number}. {reason}" for reason, number in reasons.items()]
    return (
        f"{INTRODUCTION}\n{machine()}\n\n{table(['', *OUTCOMES], totals)}\n\n"
        f"{table(['model type', *laws], rows)}\n\n## Refusals\n\n" + "\n".join(lines) + "\n\n## Not built\n\n"
        "transformers does not build or run these by themselves in a tiny size; nothing is known of them.\n\n"
        + table(["model type", "why"], unbuilt)
        + "\n"
    )


INTRODUCTION = """# What works with your model

Every causal architecture of transformers that can be built tiny, with random weights; the row is `model_type` in your
model's `config.json`. A `yes` was held against an oracle that is not Haymaker's; a number is the refusal below, as you
would read it. Written by `benchmarks/architectures.py`.

- **load**: `hm.load_model` reads what `save_pretrained` wrote, and logits are the same.
- **probe**: attention of a few rows equals the model's own eager weights, also where few logits are asked for, and
  logits move by no bit.
- **Zero**: a head without output equals zeroed columns of its output projection.
- **write**: a head's direct effect on a logit equals what the logit loses while all else adds what it added.
- **extend**: inside the old context nothing moves at factor 1, or where windows open under the same base; by 4, the
  model is the one that transformers loads from its config.
- **causal map**: each head's effect equals that of a plain forward without it.
- **answers**: a batch of greedy answers is that of whole sequences read anew for every token, without cache or padding.
- **training step**: the first loss equals the cross-entropy of the answers' tokens, and the base keeps its weights.
"""


def numbered(found: Sequence[Verdict]) -> dict[str, int]:
    """Refusals without names and numbers, counted from 1."""
    reasons = dict.fromkeys(general(one) for one in found if one.outcome == "refused")
    return {reason: number for number, reason in enumerate(reasons, 1)}


def general(one: Verdict) -> str:
    """A sentence that is the same for all architectures of which it is true."""
    text = re.sub(r"^/\S+(?=: )", "the model", " ".join(one.why.split()))  # its folder
    text = re.sub(r" of type '\w+'(?=, of which)", "", re.sub(r"\{[^{}]*\}", "...", text))
    text = re.sub(
        r"\b\w+(For\w+|Model|LMHead\w*|Attention\w*|Decoder\w*|RotaryEmbedding|LMHeadModel)\b", "the model", text
    )
    return re.sub(r"(?<![\w-])-?\d[\d.,]*(e[+-]?\d+)?(?!\w)", "n", text)


def mark(one: Verdict, reasons: dict[str, int]) -> str:
    return str(reasons[general(one)]) if one.outcome == "refused" else MARKS[one.outcome]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="model types, joined by commas; nothing is written")
    parser.add_argument("--shards", type=int, default=2, help="processes")
    given = parser.parse_args()
    from any_architecture import causal_architectures
    from architecture_laws import LAWS

    kinds = given.only.split(",") if given.only else causal_architectures()
    found = all_verdicts(kinds, given.shards)
    wrong = [one for one in found if one.outcome in ("wrong", "error")]
    if given.only:
        print(Counter(one.outcome for one in found))
    else:
        text = page(found, list(LAWS))
        write_page(RESULTS / "architectures.md", text)
        write_page(DOCS, text)
    if wrong:
        sys.exit("\n".join(["", f"{len(wrong)} wrong:", *(": ".join(one) for one in wrong)]))


if __name__ == "__main__":
    main()
