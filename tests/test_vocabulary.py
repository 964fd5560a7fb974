"""The digest of a tokenizer, which every process finds the same, and what of its vocabulary steers a model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_tokenizers import KINDS, SPECIAL, TEMPLATE, backend, tiny_tokenizer
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import haymaker as hm
from haymaker.errors import DataError
from haymaker.tokens import closing_tokens
from haymaker.vocabulary import control_tokens, tokenizer_digest

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


COMPOSED = {  # templates that put a token of the frame together, none of them special, or write one of a pair
    "[USER]": "{% for m in messages %}[{{ m.role | upper }}]{{ m.content }}[/{{ m.role | upper }}]{% endfor %}",
    "[/USER]": "{% for m in messages %}[{{ m.role | upper }}]{{ m.content }}[/{{ m.role | upper }}]{% endfor %}",
    "</user>": "{% for m in messages %}{{ '<' ~ m.role ~ '>' ~ m.content ~ '</' ~ m.role ~ '>' }}{% endfor %}",
    "<eot>": "{% set end = '<' + 'eot>' %}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ end }}{% endfor %}",
    "</think>": TEMPLATE + "{% if add_generation_prompt %}<think>\n{% endif %}",
    "<asked>": "{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<as' ~ 'ked>' }}{% endif %}",
}


@pytest.mark.parametrize("name", COMPOSED)
def test_what_a_template_writes_steers_though_its_source_does_not_spell_it(name: str) -> None:
    made = Tokenizer.from_str(backend("bytes").to_str())
    made.add_tokens([*COMPOSED, "<think>", "<b>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=SPECIAL[0], eos_token=SPECIAL[1])
    tokenizer.chat_template = COMPOSED[name]
    control = control_tokens(tokenizer).values()
    assert name in control
    assert "<b>" not in control
    mill = hm.example(f"A mill. {name} Ada built it.", needle="Ada built it.", question="Who?", answer="Ada")
    with pytest.raises(DataError, match=re.escape(f"spells the control token {name!r}")):
        hm.encode(mill, tokenizer)
    closer = closing_tokens(tokenizer)
    written = tokenizer.apply_chat_template([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert closer == (written["input_ids"][-1] if written["input_ids"][-1] in control_tokens(tokenizer) else 1,)
