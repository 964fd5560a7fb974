"""What the benchmarks of building data share: real passages, tokenizers trained on them, and a recipe for every task.

Everything comes from the folder of real rows (default: ../shared/data beside the repository). Tokenizers are trained
once into a folder of the caller's.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from haymaker.choices import SETTINGS
from haymaker.config import Recipe

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TASKS = ("mdqa", "musique", "summhay", "niah", "kv")
KINDS = ("bytes", "sentencepiece", "wordpiece")
TEMPLATE = (
    "{{ '<|begin|>' }}{% for message in messages %}{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SPECIAL = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<unk>"]
# As Llama 3 and Qwen cut: contractions, words with what stands before them, digits in threes, signs, blanks.
WORDS = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MDQA = "mdqa/nq-open-20_total_documents_gold_at_0.341.jsonl.gz"
MUSIQUE = "musique/musique_ans_dev_200.jsonl.gz"
KV = "mdqa/kv-retrieval-75_keys.200.jsonl.gz"
POOLS = ("2wikimultihop/2wikimultihopqa_corpus.json.gz", "musique/musique_train_corpus.json.gz")


def require_data(folder: Path) -> None:
    """Leave with a clear message where the real rows are missing."""
    if not (folder / MDQA).is_file():
        print(f"skipped: no real rows in {folder}; give the folder with --data", file=sys.stderr)
        raise SystemExit(2)


def settings_of(task: str) -> tuple[str, ...]:
    """Settings that a task has; key-value retrieval holds no prose."""
    return ("real", "symbolic") if task == "kv" else tuple(SETTINGS)


def passages(folder: Path) -> Iterator[str]:
    """Texts of all passages: titles and bodies as a prompt shows them."""
    for name in (*POOLS,):
        for passage in json.loads(gzip.decompress((folder / name).read_bytes())):
            yield f"Document [1](Title: {passage['title']}) {passage['text']}\n"
    with gzip.open(folder / MDQA, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield f"Question: {row['question']}\nAnswer: {row['answers'][0]}\n"
            yield from (f"Document [2](Title: {found['title']}) {found['text']}\n" for found in row["ctxs"])
    with gzip.open(folder / KV, "rt", encoding="utf-8") as lines:  # signs of JSON become tokens, as in every real BPE
        for line in islice(lines, 20):
            yield json.dumps(dict(json.loads(line)["ordered_kv_records"]), indent=1)
    for path in sorted((folder / "summhay").glob("*.json.gz")):
        for document in json.loads(gzip.decompress(path.read_bytes()))["documents"]:
            yield document["document_text"]


# ---- tokenizers


def tokenizer_of(kind: str, data: Path, folder: Path, template: bool = False) -> PreTrainedTokenizerBase:
    """A tokenizer of that kind, trained on the real passages the first time it is asked for."""
    path = folder / f"{kind}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"training a tokenizer ({kind})", file=sys.stderr)
        trained(kind, data).save(str(path))
    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(path), bos_token=SPECIAL[0], eos_token=SPECIAL[1], unk_token=SPECIAL[4]
    )
    fast.chat_template = TEMPLATE if template else None
    return fast


def trained(kind: str, data: Path) -> Tokenizer:
    """bytes: BPE of 32,768 over bytes, as GPT and Llama 3; sentencepiece: unigrams with a prefix blank; wordpiece."""
    texts = list(passages(data))
    if kind == "bytes":
        tokenizer, trainer = byte_level()
    elif kind == "sentencepiece":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        lines = pre_tokenizers.Split("\n", "isolated")  # a token of its own, as in Llama 2 and Gemma
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.Metaspace(prepend_scheme="first")])
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
        options: dict[str, Any] = {"unk_token": SPECIAL[4], "show_progress": False}
        trainer = trainers.UnigramTrainer(vocab_size=8_000, special_tokens=SPECIAL, **options)
        texts = texts[::8]  # its training is slow
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[4]))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(cleanup=False)  # else "do not" comes back as "don't"
        trainer = trainers.WordPieceTrainer(vocab_size=30_000, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    frame(tokenizer, kind)
    return tokenizer


def byte_level() -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(WORDS, "isolated"), level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=32_768, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    return tokenizer, trainer


def frame(tokenizer: Tokenizer, kind: str) -> None:
    """Special tokens around a prompt: before it, and for wordpiece behind it too."""
    pieces = "<|begin|> $A <|end|>" if kind == "wordpiece" else "<|begin|> $A"
    special = [(token, tokenizer.token_to_id(token)) for token in SPECIAL[:2]]
    tokenizer.post_processor = processors.TemplateProcessing(single=pieces, special_tokens=special)


# ---- recipes


def recipe_of(task: str, setting: str, data: Path | None, **changes: Any) -> Recipe:
    """A recipe over the real rows of that task, with as much to fill it up as there is; the world's without `data`."""
    sources: dict[str, dict[str, Any]] = {
        "mdqa": {"source": MDQA, "pool": POOLS[0]},
        "musique": {"source": MUSIQUE, "pool": POOLS[1]},
        "summhay": {"source": "summhay"},
        "niah": {"source": POOLS[0]},
        "kv": {"source": KV},
    }
    found = {key: str(data / value) for key, value in sources[task].items()} if data else {}
    return Recipe(task=task, setting=setting, **{**found, "rows": 1, "length": 4096, **changes})  # type: ignore[arg-type]
