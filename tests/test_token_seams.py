"""What stands between prompt and answer, and behind it: that of the whole row, tokenised by the tokenizer itself."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tiny_tokenizers import SPECIAL, STRIPPING, TEMPLATE, backend, tiny_tokenizer
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from haymaker.errors import DataError
from haymaker.records import Encoded, Example, Label, Message, Segment
from haymaker.rendering import TEMPLATE_DATE
from haymaker.tokens import Aligner, closing_tokens, encode

BEGIN, END, USER, ASSISTANT, UNKNOWN = SPECIAL
ANSWERS = ("Vufa", "42", "the grass", "É — a sign", "[2][5]")
Change = Callable[[Tokenizer], None]


@dataclass(frozen=True)
class Shape:
    """A tokenizer and its template. `closer` is the text of the token that ends a row; None: nothing does."""

    kind: str = "bytes"
    template: str | None = None
    change: Change | None = None
    eos: str | None = END
    closer: str | None = END
    prompt: str | None = None  # what the prompt ends in, where that is not what generation is asked for with

    def tokenizer(self) -> PreTrainedTokenizerBase:
        made = Tokenizer.from_str(backend(self.kind).to_str())
        if self.change:
            self.change(made)
        fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=BEGIN, eos_token=self.eos, unk_token=UNKNOWN)
        fast.add_special_tokens({"additional_special_tokens": ["<|eot|>"]})
        fast.chat_template = self.template
        return fast


def framed(pieces: str) -> Change:
    """Special tokens around a text."""

    def change(made: Tokenizer) -> None:
        special = [(token, made.token_to_id(token)) for token in SPECIAL[:2]]
        made.post_processor = processors.TemplateProcessing(single=pieces, special_tokens=special)

    return change


def blanks(scheme: str) -> Change:
    """A blank before a text: never, always (behind special tokens too), or first."""

    def change(made: Tokenizer) -> None:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        made.decoder = decoders.Metaspace(prepend_scheme=scheme)

    return change


def legacy(made: Tokenizer) -> None:
    """As Llama 2's file has it: a normalizer puts the blank."""
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = None  # type: ignore[assignment]


ASKS = "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
THINKS = TEMPLATE.replace(ASKS, "{% if add_generation_prompt %}<|assistant|>\n<think>\n{% endif %}")
BLOCK = TEMPLATE.replace(
    "{{ message.content }}",
    "{% if message.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ message.content }}",
)
DATED = "Today: {{ strftime_now('%d %b %Y') }}\n" + TEMPLATE
WORDS = (
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
OTHERWISE = TEMPLATE.replace("<|end|>", "<|eot|>")
OPEN = TEMPLATE.replace("<|end|>", "")
BLANK_LINE = TEMPLATE.replace("|>\n", "|>\n\n")
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
INST = (  # Llama 2 and Mistral: no word before the answer but a blank
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}<|user|> {{ message.content }} [/INST]"
    "{% else %} {{ message.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
SHAPES = {
    "bytes": Shape(),
    "bytes, chat": Shape(template=TEMPLATE),
    "every digit alone, chat": Shape("digits", TEMPLATE),
    "full stop and line break joined, chat": Shape("joined", TEMPLATE),
    "behind Assistant:": Shape(template=WORDS),
    "unigram, blank first": Shape("unigram"),
    "unigram, blank first, chat": Shape("unigram", TEMPLATE),
    "unigram, blank never": Shape("unigram", change=blanks("never")),
    "unigram, blank never, chat": Shape("unigram", TEMPLATE, blanks("never")),
    "unigram, blank always": Shape("unigram", change=blanks("always")),
    "unigram, blank always, chat": Shape("unigram", TEMPLATE, blanks("always")),
    "unigram behind Assistant:": Shape("unigram", WORDS),
    "llama 2": Shape("llama2"),
    "llama 2, chat": Shape("llama2", TEMPLATE),
    "llama 2, legacy": Shape("llama2", change=legacy),
    "llama 2, legacy, chat": Shape("llama2", INST, legacy),
    "[INST]": Shape(template=INST),
    "[INST], blank first": Shape("unigram", INST),
    "wordpiece, appends its end": Shape("wordpiece"),
    "wordpiece, chat": Shape("wordpiece", TEMPLATE),
    "appends its end": Shape(change=framed(f"{BEGIN} $A {END}")),
    "appends what is not its end": Shape(change=framed(f"$A {END}"), eos=None),
    "no begin": Shape(change=framed("$A")),
    "no end at all": Shape(change=framed("$A"), eos=None, closer=None),
    "trims": Shape(template=STRIPPING),
    "dates": Shape(template=DATED),
    "opens a thought": Shape(template=THINKS, prompt="<|assistant|>\n"),
    "closes a thought": Shape(template=BLOCK, prompt="<|assistant|>\n<think>\n\n</think>\n\n"),
    "closes a thought, unigram": Shape("unigram", BLOCK, prompt="\n\n"),
    "closes otherwise": Shape(template=OTHERWISE, closer="<|eot|>"),
    "closes otherwise, without an end": Shape(template=OTHERWISE, eos=None, closer="<|eot|>"),
    "does not close": Shape(template=OPEN),
    "a blank line": Shape("joined", BLANK_LINE),
    "no system role": Shape(template=NO_SYSTEM),
}


def row(answer: str, roles: tuple[str, ...] = ("user",)) -> Example:
    """Messages that end in a question, a needle in the last one."""
    before = [Message(role, (Segment("Be brief."),)) for role in roles[:-1]]  # type: ignore[arg-type]
    needle = Segment(f"The mill is {answer}.", (Label("evidence"),))
    asked = Message("user", (Segment("The sky is blue. "), needle, Segment("\nQuestion: What is the mill?\nAnswer:")))
    return Example("row", "qa", (*before, asked), "What is the mill?", (answer,))


def own(tokenizer: PreTrainedTokenizerBase, example: Example, generation: bool) -> tuple[str, list[int]]:
    """Text and tokens of the whole row, or of what generation is asked for with, without any of our code."""
    said = [{"role": message.role, "content": message.text} for message in example.messages]
    if not tokenizer.chat_template:
        text = example.text if generation else f"{example.text} {example.target}"
        return text, tokenizer(text)["input_ids"]  # type: ignore[return-value]
    said += [] if generation else [{"role": "assistant", "content": example.target}]
    text = str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=generation))
    text = re.sub(r"^Today: .*", "Today: 26 Jul 2024", text)
    return text, tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[return-value]


def check_ids(shape: Shape, tokenizer: PreTrainedTokenizerBase, example: Example, encoded: Encoded) -> None:
    """Whole, prompt and ending are those of the row as the tokenizer itself has it."""
    text, whole = own(tokenizer, example, False)
    ids = list(encoded.input_ids)
    added = ids[-1:] == [tokenizer.eos_token_id] and ids != whole[: len(ids)]
    kept = ids[: len(ids) - added]
    assert kept == whole[: len(kept)]
    assert not tokenizer.decode(whole[len(kept) :]).strip()  # what is left is the line break behind a turn
    closer = None if shape.closer is None else tokenizer.convert_tokens_to_ids(shape.closer)
    assert encoded.closing == (closer is not None)
    assert closer is None or ids[-1] == closer
    assert (
        closer is None or ids.count(closer) == 1 or shape.template
    )  # special tokens stand at the ends of the row alone
    asked, prompt = own(tokenizer, example, True)
    if shape.prompt is None:
        prompt = prompt[:-1] if prompt[-1] == closer else prompt  # a tokenizer that ends every text ends a prompt too
        assert list(encoded.prompt_ids) == prompt
    else:
        assert tokenizer.decode(encoded.prompt_ids).replace(" ", "").endswith(shape.prompt)


@pytest.mark.parametrize("name", SHAPES)
def test_a_row_is_what_the_tokenizer_makes_of_the_whole(name: str) -> None:
    shape, tokenizer = SHAPES[name], SHAPES[name].tokenizer()
    for answer in ANSWERS:
        example = row(answer)
        encoded = encode(example, tokenizer)
        check_ids(shape, tokenizer, example, encoded)
        end = len(encoded) - encoded.closing
        for said in (
            encoded.input_ids[encoded.prompt_length : end],
            encoded.input_ids[encoded.spans["evidence"][0].slice],
        ):
            if tokenizer.unk_token_id not in said:
                assert plain(answer) in plain(str(tokenizer.decode(said)))
        (span,) = encoded.spans["evidence"]
        assert 0 < span.start < span.stop < encoded.prompt_length


@pytest.mark.parametrize("name", SHAPES)
def test_what_closes_a_row_ends_an_answer(name: str) -> None:
    tokenizer, closer = SHAPES[name].tokenizer(), SHAPES[name].closer
    assert closing_tokens(tokenizer) == (() if closer is None else (tokenizer.convert_tokens_to_ids(closer),))


def plain(text: str) -> str:
    return "".join(text.lower().split())


def test_a_system_role_that_a_template_refuses_is_named() -> None:
    with pytest.raises(DataError, match="refuses messages of system, user.*no system role"):
        encode(row("Vufa", ("system", "user")), SHAPES["no system role"].tokenizer())
    tokenizer = SHAPES["bytes, chat"].tokenizer()
    example = row("Vufa", ("system", "user"))
    check_ids(SHAPES["bytes, chat"], tokenizer, example, encode(example, tokenizer))


LAST = TEMPLATE.replace("{{ message.content }}", "{{ message.content }}{% if loop.last %} /think{% endif %}")
FIRST = TEMPLATE.replace(
    "{{ message.content }}", "{% if messages | length > 1 %}Go on: {% endif %}{{ message.content }}"
)


@pytest.mark.parametrize("template", [LAST, FIRST, LAST.replace("loop.last", "not loop.last")])
def test_turns_that_a_template_writes_otherwise_once_they_are_answered_are_refused(template: str) -> None:
    """The prompt of the whole row would be another one than generation is asked with, without a word."""
    tokenizer = Shape(template=template).tokenizer()
    with pytest.raises(DataError, match="writes turns of user otherwise where the answer follows them"):
        encode(row("Vufa"), tokenizer)


def test_a_dated_template_gives_the_same_rows_on_any_day() -> None:
    tokenizer = SHAPES["dates"].tokenizer()
    assert tokenizer.decode(encode(row("Vufa"), tokenizer).input_ids).startswith("Today: 26 Jul 2024\n")
    assert TEMPLATE_DATE == "2024-07-26"


def test_an_answer_that_a_template_changes_is_refused() -> None:
    with pytest.raises(DataError, match="changes the text of a message"):
        encode(row(" Vufa"), SHAPES["trims"].tokenizer())


def test_an_answer_without_a_token_is_refused() -> None:
    with pytest.raises(DataError, match="no token holds the answer"):
        encode(row(" "), SHAPES["wordpiece, chat"].tokenizer())


def test_an_answer_after_a_blank_gets_no_second_one() -> None:
    tokenizer = tiny_tokenizer("bytes")
    assert tokenizer.decode(Aligner(tokenizer, False).answer("Answer: ", "Vufa", "a row")).strip() == f"Vufa{END}"
