"""The world's tokenizer: byte-level BPE trained on the world, with every syllable of a name left whole."""

from collections.abc import Collection
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from haymaker.miniature.grammar import PADDING, SYLLABLES
from haymaker.miniature.world import World, filler, question, statement

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
# Digits stand alone; "\n[" opens a document's number; words take the blank before them.
WORDS = Regex(r"\n\[| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+")


class NamelessWorld(World):
    """The world with one name for all, so that no pair of syllables is frequent enough to be merged."""

    def name(self, rng: Random, taken: Collection[str] = ()) -> str:
        return SYLLABLES[0].capitalize()


def training_text(documents: int) -> list[str]:
    """Syllables first and by far most often, so that their merges come before any that could cross two syllables."""
    world = NamelessWorld("pretrain")
    text = [" ".join([syllable.capitalize()] * 40) + "\n" + "\n".join([syllable] * 40) for syllable in SYLLABLES] * 1000
    for key in range(documents):
        rng = world.rng("tokenizer", key)
        fact = world.fact(rng)
        for manner in ("real", "writer", "template"):
            sentence = "".join(piece.text for piece in statement(fact, rng, manner))
            text.append(f"{sentence} {filler(rng)}\nQuestion: {question(fact, rng, manner)}\nAnswer:")
        insight = world.insight(rng)
        text.append(f"\n[{key % 10}] {insight.statement} {insight.paraphrase}\nDictionary [1] {{1: 2, 3: 4}}")
    return [*text, *PADDING * 200]


def train(documents: int = 6_000, vocabulary: int = 2_000) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(WORDS, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BEGIN, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_text(documents), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    return tokenizer


def save(folder: Path) -> None:
    """Write the tokenizer in the transformers layout."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=train(), bos_token=BEGIN, eos_token=END, pad_token=PAD, model_max_length=128
    )
    fast.save_pretrained(folder)
