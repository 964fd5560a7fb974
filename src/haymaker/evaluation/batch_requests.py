"""Questions for a server that speaks OpenAI's protocol (vLLM, OpenAI): its batch format, one request a line.

The format is that of OpenAI's Batch API, which `vllm run-batch` reads too (of chats; prompts without a template go to
the server's /v1/completions).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from haymaker.config import Extend
from haymaker.console import each
from haymaker.errors import DataError, ModelError
from haymaker.evaluation.exam import Exam
from haymaker.models.handshake import BaseRecord
from haymaker.models.load import Source, load_tokenizer, read_config
from haymaker.models.lora import adapter_digest
from haymaker.models.names import display_name
from haymaker.records import Example
from haymaker.rendering import Renderer
from haymaker.vocabulary import control_tokens

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
DIGITS = 12  # of an adapter's digest, in the name by which it is served


@dataclass(frozen=True)
class ServedModel:
    """A model as a server offers it: what of it is needed to ask and to judge, without its weights."""

    name: str  # in requests and responses
    tokenizer: PreTrainedTokenizerBase
    context: int
    extend: Extend | None = None

    @classmethod
    def of(
        cls, model: str, adapter: Path | None = None, extend: Extend | None = None, name: str | None = None
    ) -> "ServedModel":
        """The model's own name unless another is given; an adapter's has its digest: `llama@1f2e3d4c5b6a`."""
        record = BaseRecord.find(adapter) if adapter is not None else None
        wanted = extend or (record and record.extend)
        config = read_config(Source.of(model)).get_text_config()
        context = wanted.length if wanted else getattr(config, "max_position_embeddings", None)
        if context is None:
            raise ModelError(f"{model}: its config says no context length (max_position_embeddings)")
        digest = "" if adapter is None else f"@{adapter_digest(adapter)[:DIGITS]}"
        return cls(name or f"{display_name(model)}{digest}", load_tokenizer(model), context, wanted)

    def how_to_serve(self, model: str, adapter: Path | None) -> str:
        """In words, what the server must have loaded for these names to mean what they say."""
        loaded = "" if adapter is None else f" --enable-lora --lora-modules {self.name}={adapter}"
        what = f"serve it as {self.name!r}: vllm serve {model} --served-model-name {display_name(model)}{loaded}"
        if self.extend is None:
            return what
        return (
            f"its context is extended to {self.extend.length} tokens, of which a server knows nothing: serve the "
            f"checkpoint that `haymaker extend` writes, as {self.name!r}"
        )


def requests_of(exam: Exam, model: ServedModel) -> Iterator[dict[str, Any]]:
    """A request for every row, by its id. Raises DataError for an id that stands twice, and for text that a server
    would read as a control token."""
    refuse_twins([row.id for row in exam.rows])
    control = set(control_tokens(model.tokenizer).values())
    for row in each(exam.rows, None, "requests", len(exam.rows)):
        if spelled := next((text for text in control if text in row.text), None):
            raise DataError(
                f"{row.id}: its text spells the control token {spelled!r}, which a server would not read as text; "
                "leave the row out, or evaluate here"
            )
        url, asked = asked_of(row, model.tokenizer)
        body = {"model": model.name} | asked | {"max_tokens": exam.new_tokens, "temperature": 0}
        body |= {"stop": [exam.stop]} if exam.stop else {}
        yield {"custom_id": row.id, "method": "POST", "url": url, "body": body}


def asked_of(row: Example, tokenizer: PreTrainedTokenizerBase) -> tuple[str, dict[str, Any]]:
    """Endpoint and question: messages where the row was built with a chat template, or its tokenizer has one; else the
    prompt's text, to which the server adds the special tokens as the tokenizer does here."""
    renderer = Renderer(tokenizer, row.source.get("chat_template"))
    if renderer.use_template:
        return CHAT, {"messages": [{"role": one.role, "content": one.text} for one in row.messages]}
    prompt = renderer.render(row)
    return COMPLETION, {"prompt": prompt.text[: prompt.seam]}


def refuse_twins(ids: list[str]) -> None:
    if twice := sorted(name for name, count in Counter(ids).items() if count > 1):
        raise DataError(
            f"{twice[0]}: {len(twice)} ids stand twice, so answers could not be told apart; give each its own"
        )
