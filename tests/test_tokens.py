"""The one alignment: spans survive tokenizers' habits and chat templates, and the answer continues the prompt."""

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from haymaker.errors import DataError, ModelError
from haymaker.models.load import MINIATURES
from haymaker.records import Example, Label, Message, Segment, Span
from haymaker.tokens import align, count_tokens, encode, encode_many

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>\n{{ m.content }}</{{ m.role }}>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


@pytest.fixture
def chat() -> PreTrainedTokenizerBase:
    """A tokenizer of its own, which a test may give a template."""
    return AutoTokenizer.from_pretrained(MINIATURES / "llama")


def example(separator: str = " ", answer: str = "Port Tami") -> Example:
    gold = Segment(answer, (Label("evidence"), Label("answer")))
    user = (
        Segment("Émile said that Kalo lives in" + separator),
        gold,
        Segment(separator + "since 1999.\nQ: Where?\nA:"),
    )
    system = Message("system", (Segment("Answer.", (Label("instruction"),)),))
    return Example("row", "mdqa", (system, Message("user", user)), "Where?", (answer,))


@pytest.mark.parametrize("separator", [" ", "\n", "", "  ", "("])
def test_the_decoded_span_holds_the_evidence(separator: str, chat: PreTrainedTokenizerBase) -> None:
    for template in (None, TEMPLATE):
        chat.chat_template = template
        encoded = encode(example(separator), chat)
        for kind, text in (("evidence", "Port Tami"), ("instruction", "Answer.")):
            span = encoded.spans[kind][0]
            decoded = chat.decode(encoded.input_ids[span.slice])
            assert text in decoded
            assert len(decoded) <= len(text) + 2  # at most one token's overhang


def test_without_a_template_the_tokens_are_those_of_the_text(tokenizer: PreTrainedTokenizerBase) -> None:
    one = example()
    encoded = encode(one, tokenizer)
    assert list(encoded.prompt_ids) == tokenizer(one.text)["input_ids"]
    assert list(encoded.input_ids) == [*tokenizer(one.text + " Port Tami")["input_ids"], tokenizer.eos_token_id]


def test_with_a_template_the_tokens_are_those_of_the_rendering(chat: PreTrainedTokenizerBase) -> None:
    chat.chat_template = TEMPLATE
    one = example()
    rendered = f"<system>\nAnswer.</system>\n<user>\n{one.messages[1].text}</user>\n<assistant>\n"
    assert list(encode(one, chat).prompt_ids) == chat(rendered, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    "template", [TEMPLATE.replace("m.content", "m.content | trim"), "<user>{{ messages[1].content }}"]
)
def test_a_template_that_loses_text_is_refused(template: str, chat: PreTrainedTokenizerBase) -> None:
    chat.chat_template = template
    one = example()
    padded = Message("system", (Segment("  Answer. ", (Label("instruction"),)),))
    with pytest.raises(DataError, match="row: the chat template"):
        encode(Example("row", "mdqa", (padded, one.messages[1]), "?", ("a",)), chat)


def test_many_equal_one_by_one(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = [example(separator) for separator in (" ", "\n", "")]
    assert encode_many(rows, tokenizer) == [encode(row, tokenizer) for row in rows]
    assert encode_many([], tokenizer) == []


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow(PreTrainedTokenizerBase):
        is_fast = False

    with pytest.raises(ModelError, match="Slow gives no character offsets"):
        encode_many([example()], Slow.__new__(Slow))


def test_align_by_hand() -> None:
    # Tokens: a special one, "Ka", "lo", " li", "ves"; the third straddles the span's start, the special holds nothing.
    offsets = np.array([[0, 0], [0, 2], [2, 4], [4, 7], [7, 10]])
    spans = [(Label("answer"), Span(3, 5)), (Label("evidence"), Span(0, 10)), (Label("question"), Span(9, 10))]
    assert [span for _, span in align(spans, offsets, "row")] == [Span(2, 4), Span(1, 5), Span(4, 5)]


def test_a_span_without_a_token_is_an_error() -> None:
    with pytest.raises(DataError, match=r"row: no token holds answer:0 at characters \[4, 6\)"):
        align([(Label("answer"), Span(4, 6))], np.array([[0, 4], [6, 8]]), "row")


def test_counts_are_those_of_each_text_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    assert count_tokens([" Kalo", "", " Kalo lives"], tokenizer) == [2, 0, 3]
