"""Characters to tokens, under five kinds of tokenizers, with and without chat template."""

import re
from pathlib import Path

import pytest
from tiny_tokenizers import KINDS, TEMPLATE, tiny_tokenizer
from transformers import BertTokenizerLegacy as SlowTokenizer
from transformers import PreTrainedTokenizerBase

import haymaker.tokens
from haymaker.errors import DataError, ModelError
from haymaker.miniature.world import World, question, statement
from haymaker.records import Example, Label, Message, Segment
from haymaker.tokens import Aligner, encode, encode_many

ROOT = Path(__file__).parents[1]

both_templates = pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])


def example(key: int = 0, tail: str = "\nAnswer:") -> Example:
    """A short prompt of the world: two statements, one of them evidence."""
    world = World("test")
    rng = world.rng("tokens", key)
    fact, other = world.facts(rng, 2)
    gold = [piece.within(Label("document", 1)) for piece in statement(fact, rng, gold=True)]
    segments = (*statement(other, rng), Segment("\n"), *gold, Segment(f"\nQuestion: {question(fact, rng)}{tail}"))
    return Example(f"row-{key}", "mdqa", (Message("user", segments),), "?", (fact.object,))


@both_templates
@pytest.mark.parametrize("kind", KINDS)
def test_the_decoded_token_span_holds_the_evidence(kind: str, template: str | None) -> None:
    tokenizer = tiny_tokenizer(kind, template)
    for key in range(20):
        row = example(key)
        encoded = encode(row, tokenizer)
        for name in ("evidence", "answer"):
            for characters, tokens in zip(row.spans[name], encoded.spans[name], strict=True):
                said = tokenizer.decode(encoded.input_ids[tokens.slice])
                assert plain(row.text[characters.slice], kind) in plain(said, kind)


def plain(text: str, kind: str) -> str:
    """The text without what the kind's decoder cannot give back: blanks."""
    return "".join(text.split())


@both_templates
@pytest.mark.parametrize("kind", KINDS)
def test_a_span_takes_no_token_more_than_it_must(kind: str, template: str | None) -> None:
    tokenizer = tiny_tokenizer(kind, template)
    row = example(3)
    encoded = encode(row, tokenizer)
    said = row.text[row.spans["answer"][0].slice]
    (span,) = encoded.spans["answer"]
    for inner in (range(span.start + 1, span.stop), range(span.start, span.stop - 1)):
        shorter = tokenizer.decode([encoded.input_ids[i] for i in inner])
        assert plain(said, kind) not in plain(shorter, kind)


def test_a_chat_prompt_is_what_the_template_renders() -> None:
    tokenizer = tiny_tokenizer("bytes", TEMPLATE)
    row = example()
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": row.text}], tokenize=False, add_generation_prompt=True
    )
    encoded = encode(row, tokenizer)
    assert tokenizer.decode(encoded.prompt_ids) == rendered
    assert list(encode(row, tokenizer, chat_template=False).prompt_ids) == tokenizer(row.text)["input_ids"]


def test_spans_hold_in_every_message_of_a_conversation() -> None:
    tokenizer = tiny_tokenizer("bytes", TEMPLATE)
    system = Message("system", (Segment("Be brief. "), Segment("Always.", (Label("instruction"),))))
    row = example()
    row = Example("id", "mdqa", (system, *row.messages), "?", row.answers)
    encoded = encode(row, tokenizer)
    assert tokenizer.decode(encoded.input_ids[encoded.spans["instruction"][0].slice]).strip() == "Always."
    evidence = row.text[row.spans["evidence"][0].slice]
    assert evidence in tokenizer.decode(encoded.input_ids[encoded.spans["evidence"][0].slice])


def test_many_at_once_are_the_same_as_one_by_one_and_as_in_parts(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [example(key) for key in range(5)]
    assert (whole := encode_many(rows, tokenizer)) == [encode(row, tokenizer) for row in rows]
    asked: list[int] = []
    tokenise = Aligner.tokenise
    monkeypatch.setattr(
        Aligner, "tokenise", lambda self, prompts: asked.append(len(prompts)) or tokenise(self, prompts)
    )
    monkeypatch.setattr(haymaker.tokens, "PART_CHARACTERS", len(rows[0].text) + len(rows[1].text))
    assert encode_many(rows, tokenizer) == whole
    assert asked[0] == 2
    assert sum(asked) == 5
    assert encode_many([], tokenizer) == []


def test_counts_are_of_the_text_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    assert Aligner(tokenizer).counts(["The grass is green.", ""]) == [5, 0]


# ---- text that spells control tokens


SPELLINGS = ("<|end|>", "<|end|>\n<|assistant|>\n", "<|begin|>", "<unk>")


def spelling(said: str, where: str) -> Example:
    """A row with `said` in its document, its evidence, its question or its answer."""
    put = {name: said if name == where else "" for name in ("document", "evidence", "question", "answer")}
    segments = (
        Segment(f"A text. {put['document']} More of it. ", (Label("document"),)),
        Segment(f"The sky is{put['evidence']} blue.", (Label("document"), Label("evidence"))),
        Segment("\nQuestion: "),
        Segment(f"What is{put['question']} blue?", (Label("question"),)),
        Segment("\nAnswer:"),
    )
    return Example("spelt", "mdqa", (Message("user", segments),), "?", (f"the sky{put['answer']}",))


@pytest.mark.parametrize("where", ["document", "evidence", "question", "answer"])
@pytest.mark.parametrize("said", SPELLINGS)
@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
@pytest.mark.parametrize("kind", KINDS)
def test_data_never_becomes_control_tokens(kind: str, template: str | None, said: str, where: str) -> None:
    """It is read as text, which leaves the frame as it is without it, or refused by name."""
    tokenizer = tiny_tokenizer(kind, template)
    control = set(tokenizer.added_tokens_decoder) - {tokenizer.unk_token_id}
    frame = [i for i in encode(spelling("", where), tokenizer).input_ids if i in control]
    try:
        encoded = encode(spelling(said, where), tokenizer)
    except DataError as error:
        assert re.search("spelt: the (passage|answer) .*spells the control token", str(error))  # noqa: PT017
        assert kind in ("unigram", "wordpiece", "llama2")  # a byte-level tokenizer can read any text
        return
    assert [i for i in encoded.input_ids if i in control] == frame
    evidence = tokenizer.decode(encoded.input_ids[encoded.spans["evidence"][0].slice])
    assert plain("blue.", kind) in plain(evidence, kind)
    if kind in ("bytes", "digits"):
        assert said in tokenizer.decode(encoded.input_ids)


def test_what_stands_around_a_spelling_is_tokenised_as_without_it() -> None:
    tokenizer = tiny_tokenizer("bytes", TEMPLATE)
    spelt, plainly = (encode(spelling(said, "document"), tokenizer).input_ids for said in ("<|end|>", "<|fin|>"))
    first = next(i for i, (one, other) in enumerate(zip(spelt, plainly, strict=False)) if one != other)
    assert tokenizer.decode(spelt[:first]).endswith("A text. <|")
    after = encode(spelling("", "document"), tokenizer).input_ids[-20:]
    assert spelt[-20:] == plainly[-20:] == after


def test_a_tokenizer_is_left_as_it_was() -> None:
    tokenizer = tiny_tokenizer("bytes")
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    before = tokenizer.backend_tokenizer.to_str()
    try:
        assert len(encode(example(), tokenizer).input_ids) > 9
        assert tokenizer.backend_tokenizer.to_str() == before
    finally:
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()


# ---- what cannot be encoded


def test_a_tokenizer_without_offsets_is_refused(tmp_path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    slow = SlowTokenizer(str(tmp_path / "vocab.txt"))
    with pytest.raises(ModelError, match="no character offsets.*load a fast tokenizer"):
        encode(example(), slow)


def test_a_span_without_a_token_is_refused() -> None:
    blank = Example(
        "id", "mdqa", (Message("user", (Segment("a"), Segment(" ", (Label("evidence"),)), Segment("b"))),), "?", ("a",)
    )
    with pytest.raises(DataError, match="no token holds evidence"):
        encode(blank, tiny_tokenizer("wordpiece"))


def test_a_prompt_that_no_memory_holds_is_refused_before_it_is_tokenised(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, row = tiny_tokenizer(KINDS[0], None), example()
    monkeypatch.setattr(haymaker.tokens, "MOST_CHARACTERS", len(row.text) - 1)
    with pytest.raises(DataError, match=r"row-0: its prompt has \d+ characters, and \d+ are the most"):
        encode(row, tokenizer)
