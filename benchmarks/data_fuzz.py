"""Readers of real rows on rows broken at random, as tests/tasks/test_fuzzed_sources.py does, in numbers.

    python benchmarks/data_fuzz.py [--examples 10000]

Ends with an error at the first example that gives a traceback, or a row that is kept and wrong.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "tasks")]

import test_fuzzed_sources as fuzzed  # noqa: E402  # pyright: ignore[reportMissingImports]

from haymaker.models.names import MINIATURES  # noqa: E402


def main() -> int:
    """Prints how many examples of each reader passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=10_000, help="of each reader")
    fuzzed.EXAMPLES = parser.parse_args().examples
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
    for task in fuzzed.ROWS:
        with tempfile.TemporaryDirectory() as folder:
            fuzzed.test_a_broken_row_is_an_error_a_reason_or_right(task, tokenizer, Path(folder))
        print(f"{task}: {fuzzed.EXAMPLES} examples", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
