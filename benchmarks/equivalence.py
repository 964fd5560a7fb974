"""The table of equivalences of heads.md, section 7: what was found on eight tiny random architectures, on a CPU.

    python benchmarks/equivalence.py          # about a minute; writes benchmarks/results/equivalence.md
    python benchmarks/equivalence.py llama    # some architectures only; prints

Laws 6 to 8 are of the detectors, and found once. Law 11 and the peers of 9 and 10 are in results/peers.md, 20 needs a
GPU (benchmarks/gpu.py). Exits with 1 where a law does not hold.
"""

import sys
import warnings

import equivalences_branches  # noqa: F401  (each of the four enters its laws)
import equivalences_detectors  # noqa: F401
import equivalences_edits  # noqa: F401
import equivalences_reading  # noqa: F401
import torch
from equivalences import ARCHITECTURES, LAWS, Law
from tables import RESULTS, machine, table, write_page


def cell(law: Law, architecture: str) -> tuple[str, bool]:
    """What was found, as written in the table, and whether the law holds."""
    torch.manual_seed(0)
    found = law.difference(architecture)
    if found is None:
        return "", True
    written = f"{found:.0f}" if found == int(found) else f"{found:.1e}" if found < 0.01 else f"{found:.2f}"
    return (written, True) if law.holds(found) else (f"**{written} FAILS**", False)


def rows(laws: list[Law], architectures: list[str]) -> tuple[list[list[str]], bool]:
    """The table's rows, and whether all laws hold."""
    found, held = [], True
    for law in sorted(laws, key=lambda law: int(law.number)):
        cells = [cell(law, architecture) for architecture in architectures]
        held &= all(holds for _, holds in cells)
        bound = f"{'over' if law.apart else 'at most'} {law.bound:g}"
        found.append([law.number, law.says, bound, *(written for written, _ in cells)])
    return found, held


def page(architectures: list[str]) -> tuple[str, bool]:
    every, held = rows([law for law in LAWS if not law.once], architectures)
    once, held_once = rows([law for law in LAWS if law.once], ["miniature-llama"])
    lines = [
        "# Equivalences", "", f"`python benchmarks/equivalence.py`. {machine()}", "",
        "Numbers are the largest absolute differences observed (or counts, where the row says so) in float32 on tiny "
        "random models of 3 layers x 4 heads, made so that attention is peaked; an empty cell has nothing to compare. "
        "The numbers of the laws are those of the reference, section 7.", "",
        table(["law", "what", "bound", *architectures], every), "",
        table(["law", "what", "bound", "miniature-llama"], once), "",
        "Law 11 and the peers of 9 and 10 are in `peers.md`; 20 needs a GPU (`benchmarks/gpu.py`).", "",
    ]  # fmt: skip
    return "\n".join(lines), held and held_once


@torch.no_grad()
def main() -> None:
    warnings.simplefilter("ignore")  # PEFT's and transformers' deprecations
    torch.set_num_threads(1)
    chosen = sys.argv[1:]
    text, held = page(chosen or ARCHITECTURES)
    print(text) if chosen else write_page(RESULTS / "equivalence.md", text)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
