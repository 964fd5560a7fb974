"""One request over the network, by the openai client, and what the server sent, read: an Answer or a Fault.

The openai client's own retries are off (haymaker.writing.client has others). Reading is done from the raw reply every
time, so a cache outlives changes here.
"""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from haymaker.errors import ConfigError, DataError
from haymaker.file_reading import refuse_half_letters
from haymaker.models.answer_text import after_thoughts
from haymaker.writing.config import WriterConfig
from haymaker.writing.records import MOST_TOKENS, Answer, Request, Status

NO_KEY = "no-key"  # for servers that want none
SECRETS = re.compile(r"(?i)\b(?:sk-|bearer\s+)[\w.~+/=*-]+")  # in messages: parts of keys, too
SAID_CHARACTERS = 200  # of a server's message that are repeated
# How a reply begins that declines in words, with finish_reason "stop".
DECLINES = re.compile(
    r"^\W*(?:i['’]?m (?:very |so )?sorry|i am sorry|sorry\b|i apologi[sz]e|my apologies|i can(?:not|['’]t|\b not)|"
    r"i (?:won['’]t|will not|am unable|['’]m unable|must decline)|i['’]m (?:unable|not able)|as an ai\b|"
    r"unfortunately, i)",
    re.IGNORECASE,
)
Class = Literal["retry", "limited", "permanent", "fatal"]
STATUS_OF_FINISH: dict[str, Status] = {"length": "length", "content_filter": "filtered"}
QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
FATAL = {
    401: "the key is refused",
    402: "the account must be paid for",
    403: "the key may not do this",
    404: "no such model or address",
}
PASSING = (408, 409, 425)  # and every 5xx


@dataclass(frozen=True)
class Fault:
    """Why there is no answer. retry: may pass; limited: too fast; permanent: this request; fatal: every request."""

    kind: Class
    reason: str


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
                text = self.without_key(raw.content.decode(json.detect_encoding(raw.content)))
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
            whole = str(said or "").encode(errors="replace").decode()  # half a letter fits no cache
            words = SECRETS.sub("[key]", self.without_key(" ".join(whole.split())))[:SAID_CHARACTERS]
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


# ---- what servers send


def read_reply(raw: str) -> Answer | Fault:
    """The answer in the body of a 200 reply; a fault that may pass where the body is no chat completion."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return Fault("retry", "the reply is not JSON")
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        message, finish = choice["message"], str(choice.get("finish_reason") or "")
        spent = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        text, error = message.get("content"), body.get("error") or choice.get("error")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Fault("retry", "the reply is no chat completion")
    if not isinstance(text, str | None) or not all(is_count(tokens) for tokens in spent):
        return Fault("retry", "the reply is no chat completion")
    if error:  # of a gateway whose server failed: what text there is may be a part of one
        return Fault("retry", "the reply holds an error")
    try:
        refuse_half_letters([text, finish], raw, "the reply")
    except DataError as error:
        return Fault("retry", str(error))
    text = text[after_thoughts(text, in_thought=False)[0] :] if text else ""
    status = status_of(text, message.get("refusal"), finish)
    reason = f"finish_reason {finish}" if status == "error" else ""
    return Answer(status, text.strip() if status == "ok" else "", reason, finish, *spent)


def is_count(tokens: Any) -> bool:
    return type(tokens) is int and 0 <= tokens <= MOST_TOKENS


def status_of(text: str, refusal: Any, finish: str) -> Status:
    """What a completion is worth. Only what ended by itself and says something is ok."""
    if refusal:
        return "refused"
    if finish in STATUS_OF_FINISH:
        return STATUS_OF_FINISH[finish]
    if not text.strip():
        return "empty"
    if finish not in ("stop", ""):
        return "error"  # a call of a tool, say
    return "refused" if DECLINES.match(text.strip()) else "ok"


def read_error(status_code: int, body: Any) -> Fault | Answer:
    """The fault behind a reply that is not 200. A content filter's 400 is an answer: filtered."""
    code = str(body.get("code") or "") if isinstance(body, dict) else ""
    text = f"{code} {body.get('message') if isinstance(body, dict) else body}".lower()
    if status_code == 429:
        return Fault("fatal", "the account's quota is used up") if code in QUOTA else Fault("limited", "429")
    if status_code in FATAL:
        return Fault("fatal", f"{status_code}, {FATAL[status_code]}")
    if status_code in PASSING or status_code >= 500:
        return Fault("retry", f"status {status_code}")
    if code == "content_filter":
        return Answer("filtered", finish_reason="content_filter")
    if status_code == 413 or "context length" in text or "context_length" in text or "too many tokens" in text:
        return Fault("permanent", "the prompt is longer than the model's context")
    return Fault("permanent", f"status {status_code}")
