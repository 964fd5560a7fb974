"""The digest of a tokenizer: what it counts, and that every process finds the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_tokenizers import KINDS, SPECIAL, TEMPLATE, tiny_tokenizer
from transformers import AutoTokenizer

from haymaker.vocabulary import tokenizer_digest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_truncation_do_not_change_the_digest_and_what_cuts_or_frames_does(kind: str) -> None:
    tokenizer = tiny_tokenizer(kind)
    before = tokenizer_digest(tokenizer)
    tokenizer.pad_token, tokenizer.padding_side = SPECIAL[1], "left"
    tokenizer(["a", "a b c"], padding="max_length", truncation=True, max_length=2)
    assert tokenizer_digest(tokenizer) == before
    others = [tiny_tokenizer(kind, TEMPLATE), tiny_tokenizer(kind), tiny_tokenizer(kind)]
    others[1].eos_token = SPECIAL[0]
    others[2].add_tokens(["needle in a haystack"])
    assert len({before, *map(tokenizer_digest, others)}) == 4


def test_the_digest_is_the_same_in_another_process(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer("bytes", TEMPLATE)
    tokenizer.save_pretrained(tmp_path)
    script = (
        "import sys; from haymaker.vocabulary import tokenizer_digest\n"
        "from transformers import PreTrainedTokenizerFast as Reader  # which loads no torch\n"
        "print(tokenizer_digest(Reader.from_pretrained(sys.argv[1])))"
    )
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(  # this one's hash seed is drawn
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "2"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == tokenizer_digest(AutoTokenizer.from_pretrained(tmp_path))
