"""One request over the network, by the openai client. Its own retries are off: haymaker.writing.client has better."""

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from haymaker.errors import ConfigError
from haymaker.writing.config import WriterConfig
from haymaker.writing.records import Answer, Request
from haymaker.writing.replies import Fault, read_error, read_reply

NO_KEY = "no-key"  # for servers that want none
SECRETS = re.compile(r"(?i)\b(?:sk-|bearer\s+)[\w.~+/=*-]+")  # in messages: parts of keys, too
SAID_CHARACTERS = 200  # of a server's message that are repeated


@dataclass(frozen=True)
class Reply:
    """What came of one request: an answer or a fault; the raw body of an answer, the headers of either."""

    outcome: Answer | Fault
    raw: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    maybe_charged: bool = False  # the model may have answered, though no answer arrived


class Endpoint:
    """A server. Raises ConfigError where there is no address or no `openai` package."""

    def __init__(self, config: WriterConfig) -> None:
        try:
            from openai import AsyncOpenAI
        except ImportError:
            raise ConfigError("the writer needs the openai package; pip install 'haymaker[writer]'") from None
        address = config.base_url or os.environ.get("OPENAI_BASE_URL")
        if not address:
            raise ConfigError("base_url: no endpoint; set it in the config or set OPENAI_BASE_URL in the environment")
        self.config = config
        self.key = os.environ.get(config.key_variable) or NO_KEY
        self.client = AsyncOpenAI(base_url=address, api_key=self.key, max_retries=0, timeout=config.timeout_seconds)

    async def __aenter__(self) -> "Endpoint":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.client.close()

    async def send(self, request: Request, idempotent: bool = True) -> Reply:
        """Send a request once. `idempotent` names it to the server, which may then know a second sending for one."""
        import openai

        headers = {"Idempotency-Key": request.key} if idempotent else {}
        try:
            async with asyncio.timeout(self.config.timeout_seconds):  # a server that drips has no other end
                raw = await self.client.chat.completions.with_raw_response.create(
                    model=request.model,
                    messages=[dict(message) for message in request.messages],  # type: ignore[misc]
                    extra_body=dict(request.parameters),
                    extra_headers=headers,
                )
                text = self.without_key(raw.text)
        except (TimeoutError, openai.APITimeoutError):
            return Reply(Fault("retry", f"no answer in {self.config.timeout_seconds:g} seconds"), maybe_charged=True)
        except openai.APIConnectionError as error:
            return connection_fault(error)
        except openai.APIStatusError as error:
            return self.refusal(error)
        except UnicodeDecodeError:
            return Reply(Fault("retry", "the reply is not text"), maybe_charged=True)
        outcome = read_reply(text)
        return Reply(outcome, text, dict(raw.headers), maybe_charged=isinstance(outcome, Fault))

    def refusal(self, error: Any) -> Reply:
        """A reply that is not 200; the server's words go along where they say what to mend."""
        outcome = read_error(error.status_code, error.body)
        if isinstance(outcome, Fault) and outcome.kind == "permanent":
            said = error.body.get("message") if isinstance(error.body, dict) else error.body
            words = SECRETS.sub("[key]", self.without_key(" ".join(str(said or "").split())))[:SAID_CHARACTERS]
            outcome = Fault(outcome.kind, f"{outcome.reason}: {words}" if words else outcome.reason)
        return Reply(outcome, headers=dict(error.response.headers))

    def without_key(self, text: str) -> str:
        """The text without the key, should a server repeat it."""
        return text if self.key == NO_KEY else text.replace(self.key, "[key]")


def connection_fault(error: Exception) -> Reply:
    """A connection that failed, before the request was sent or after."""
    cause = type(error.__cause__).__name__
    reached = cause not in ("ConnectError", "ConnectTimeout")
    reason = "the connection broke off" if reached else "no connection to the endpoint"
    return Reply(Fault("retry", f"{reason} ({cause})"), maybe_charged=reached)
