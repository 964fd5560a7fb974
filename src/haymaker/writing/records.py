"""What travels between writer, client and cache: a request, and the answer to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

from haymaker.records import digest

Status = Literal["ok", "refused", "length", "filtered", "empty", "error"]
Message = dict[str, str]
MOST_TOKENS = 2**63 - 1  # that the cache, SQLite, can hold


@dataclass(frozen=True)
class Request:
    """One question to the model. `row` and `purpose` say what it is for; `sample` tells equal questions apart.

    `expected` looks like a good answer: its size stands for the answer's in an estimate.
    """

    row: str
    purpose: str
    model: str
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any]
    sample: int = 0
    expected: str = ""

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the answer depends on."""
        return {
            "model": self.model,
            "messages": list(self.messages),
            "parameters": dict(self.parameters),
            "sample": self.sample,
        }

    @cached_property
    def key(self) -> str:
        """sha256 of the content: the answer's name in the cache."""
        return digest(self.content)

    @property
    def prompt(self) -> str:
        return "\n".join(message["content"] for message in self.messages)

    @property
    def max_tokens(self) -> int:
        found = self.parameters.get("max_tokens", self.parameters.get("max_completion_tokens"))
        assert isinstance(found, int), "every request limits its answer"
        return found


@dataclass(frozen=True)
class Answer:
    """What came back. `text` is empty unless `status` is ok, so that no failure can be taken for writing."""

    status: Status
    text: str = ""
    reason: str = ""  # why it is an error
    finish_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    replayed: bool = field(default=False, compare=False)  # from the cache, not paid for now

    def __post_init__(self) -> None:
        assert bool(self.text) == (self.status == "ok"), "only an answer that is ok has a text"


@runtime_checkable
class Model(Protocol):
    """Whatever answers requests: a client of an endpoint, or a dry run that only counts."""

    async def ask(self, request: Request) -> Answer: ...
