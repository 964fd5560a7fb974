"""Small trained tokenizers of the kinds in use, with and without a chat template."""

import json
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from haymaker.miniature.grammar import PADDING
from haymaker.miniature.world import World, question

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
STRIPPING = TEMPLATE.replace("message.content", "message.content | trim")
SPECIAL = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<unk>"]
LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
PRE_TOKENIZERS = {
    "bytes": LEVEL,
    "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), LEVEL]),
    "unigram": pre_tokenizers.Metaspace(prepend_scheme="first"),
    "wordpiece": pre_tokenizers.BertPreTokenizer(),
    "llama2": pre_tokenizers.Metaspace(prepend_scheme="first"),
}
DECODERS = {
    "bytes": decoders.ByteLevel(),
    "digits": decoders.ByteLevel(),
    "unigram": decoders.Metaspace(prepend_scheme="first"),
    "wordpiece": decoders.WordPiece(),
    "llama2": decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
}
# As Llama 3 and Qwen cut: a full stop and the line breaks behind it are one token.
JOINED = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
PRE_TOKENIZERS["joined"] = pre_tokenizers.Sequence([pre_tokenizers.Split(JOINED, "isolated"), BYTES])
DECODERS["joined"] = decoders.ByteLevel()
KINDS = ("bytes", "digits", "unigram", "wordpiece", "llama2")


@cache
def corpus() -> tuple[str, ...]:
    world, wiki = World("pretrain"), "The first Nobel Prize in Physics was awarded in 1901 to Röntgen — (150,782 SEK)."
    rng = world.rng("tokenizers")
    facts = [world.fact(rng) for _ in range(150)]
    texts = [f"{world.passage(rng)}\nQuestion: {question(fact, rng)}\nAnswer: {fact.object}" for fact in facts]
    return (
        *texts,
        *PADDING * 3,
        *[wiki] * 5,
        "Document [1](Title: Physics) 2: 3",
        *['JSON data:\n{"ab": "cd",\n "ef": "12",\n "3": "45"}\n'] * 50,  # signs that become one token, as in GPT-2
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ{}456789",
    )


@cache
def backend(kind: str) -> Tokenizer:
    """bytes: GPT-2's; digits: the same with every digit alone; unigram: sentencepiece-like with a prefix blank;
    wordpiece: BERT's; joined: Llama 3's; llama2: merges over the whole text, nothing cut before."""
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=500, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
        )
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=SPECIAL, show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>" if kind == "llama2" else None))
        alphabet = [] if kind == "llama2" else pre_tokenizers.ByteLevel.alphabet()  # bytes it has not seen would vanish
        trainer = trainers.BpeTrainer(
            vocab_size=800, special_tokens=SPECIAL, show_progress=False, initial_alphabet=alphabet
        )
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[kind]
    more = ["It is so.\n\nQuestion: who\nAnswer:"] * 30 if kind == "joined" else []
    tokenizer.train_from_iterator([*corpus(), *more], trainer)
    if kind == "llama2":
        tokenizer = uncut(tokenizer)
    frame(tokenizer, kind)
    return tokenizer


def uncut(trained: Tokenizer) -> Tokenizer:
    """The same merges, applied to a whole text at once."""
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def frame(tokenizer: Tokenizer, kind: str) -> None:
    """Special tokens around a prompt: before it, and for wordpiece behind it too."""
    tokenizer.decoder = DECODERS[kind]
    pieces = "<|begin|> $A <|end|>" if kind == "wordpiece" else "<|begin|> $A"
    special = [(token, tokenizer.token_to_id(token)) for token in SPECIAL[:2]]
    tokenizer.post_processor = processors.TemplateProcessing(single=pieces, special_tokens=special)


def tiny_tokenizer(kind: str, template: str | None = None) -> PreTrainedTokenizerBase:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend(kind), bos_token=SPECIAL[0], eos_token=SPECIAL[1], unk_token=SPECIAL[4]
    )
    tokenizer.chat_template = template
    return tokenizer
