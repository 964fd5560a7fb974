"""What words say of tokens: as many pieces as the tokenizer makes, where the vocabulary spells them."""

import random
from itertools import pairwise

import pytest
from tiny_tokenizers import KINDS, tiny_tokenizer
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from haymaker.data.fit.judge import WITH_BLANK_LINES, WORDS, Judge
from haymaker.realism.context import world_passages
from haymaker.tokens import Aligner


def byte_pairs(*merges: str) -> PreTrainedTokenizerFast:
    """Letters and these merges of two, in this order; words are parted by blanks."""
    pieces = [*"abcdĠĊ", *(merge.replace("+", "") for merge in merges)]
    model = models.BPE(
        {piece: i for i, piece in enumerate(pieces)}, [(merge.split("+")[0], merge.split("+")[1]) for merge in merges]
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_pairs_are_merged_in_their_order() -> None:
    # bc comes before ab: abc is a bc and no ab c; abcd is a bc d. The longest first would be ab cd.
    judge = Judge(Aligner(byte_pairs("b+c", "a+b", "c+d", "Ġ+a"), False))
    assert [judge.pieces(word) for word in ("abc", "abcd", "abab", "ab", " a")] == [2, 3, 2, 1, 1]
    assert [judge.longest(word) for word in ("abc", "abcd")] == [2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_judge_that_has_learnt_is_off_by_little(kind: str) -> None:
    aligner = Aligner(tiny_tokenizer(kind), False)
    texts = [passage.text for passage in world_passages("train", 0)][:120]
    judge, counts = Judge(aligner), aligner.counts(texts)
    judge.learn(texts[:40], sum(counts[:40]))
    spent = aligner.spent
    assert sum(judge.sizes(texts[40:])) == pytest.approx(sum(counts[40:]), rel=0.03)
    assert aligner.spent - spent <= sum(counts[40:]) / 10
    assert judge.sizes(texts[40:]) == judge.sizes(texts[40:])


def test_words_hold_every_character() -> None:
    for text in ('He said: "No, I don\'t."\n\n  (1998-2004)  x_1\t…', "日本語の文。", "", " \n "):
        assert "".join(WORDS.findall(text)) == "".join(WITH_BLANK_LINES.findall(text)) == text


@pytest.mark.parametrize("form", [r"[^\S\n]?\w+|\s*\n+|\s+", r"[^\S\n]?\w+|\s+(?!\S)|\s+"], ids=["llama-3", "gpt-2"])
def test_blank_lines_are_one_word_where_the_tokenizer_says_so(form: str) -> None:
    """A text with headings took more for one without them, and rows of the others came out too long."""
    tokenizer = byte_pairs("Ċ+Ċ", "Ġ+a", "a+b")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(form), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    aligner = Aligner(tokenizer, False)
    judge = Judge(aligner)
    for text in ("ab\n\nab ab", "ab\n\n\n\nab", "\n\nab", "ab\nab", "ab \n\nab"):
        assert judge.pieces(text) == aligner.counts([text])[0], text


def test_what_the_vocabulary_writes_otherwise_is_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    aligner = Aligner(tokenizer, False)
    judge = Judge(aligner)
    for word in ("žluťoučký", "éèà", "日本語の文", "\n"):  # a byte alphabet has é, for another letter
        assert judge.pieces(word) == aligner.counts([word])[0]


def test_merging_is_that_of_one_pair_after_the_other() -> None:
    aligner = Aligner(byte_pairs("b+c", "a+b", "c+d", "ab+ab", "d+a", "bc+d", "a+bc", "abab+abab"), False)
    judge, drawn = Judge(aligner), random.Random(0)
    for _ in range(300):
        word = "".join(drawn.choices("abcd", k=drawn.randrange(1, 40)))
        parts = list(word)
        while pairs := [pair for both in pairwise(parts) if (pair := aligner.piece_id("".join(both))) is not None]:
            at = next(i for i, both in enumerate(pairwise(parts)) if aligner.piece_id("".join(both)) == min(pairs))
            parts[at : at + 2] = ["".join(parts[at : at + 2])]
        assert judge.merged(word) == len(parts), word


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_without_end_takes_lookups_by_its_letters_and_not_by_their_square(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligner = Aligner(tiny_tokenizer(kind), False)
    judge, word, asked = Judge(aligner), "ab" * 2_000, 0

    def piece_id(piece: str) -> int | None:
        nonlocal asked
        asked += 1
        return aligner.backend.token_to_id(piece)

    monkeypatch.setattr(aligner, "piece_id", piece_id)
    assert judge.pieces(word) > 0
    assert 0 < asked <= (aligner.longest_piece + 5) * len(word)
