"""What a server sent, read: a chat completion becomes an Answer, everything else a fault of a known class.

Reading is done from the raw reply every time, so a cache outlives changes here.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from haymaker.writing.records import Answer, Status

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
FATAL = {401: "the key is refused", 403: "the key may not do this", 404: "no such model or address"}
PASSING = (408, 409, 425)  # and every 5xx


@dataclass(frozen=True)
class Fault:
    """Why there is no answer. retry: may pass; limited: too fast; permanent: this request; fatal: every request."""

    kind: Class
    reason: str


def read_reply(raw: str) -> Answer | Fault:
    """The answer in the body of a 200 reply; a fault that may pass where the body is no chat completion."""
    try:
        body = json.loads(raw)
    except ValueError:
        return Fault("retry", "the reply is not JSON")
    try:
        choice, usage = body["choices"][0], body.get("usage") or {}
        message, finish = choice["message"], str(choice.get("finish_reason") or "")
        spent = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        text = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Fault("retry", "the reply is no chat completion")
    if not isinstance(text, str | None) or not all(isinstance(tokens, int) for tokens in spent):
        return Fault("retry", "the reply is no chat completion")
    status = status_of(text or "", message.get("refusal"), finish)
    reason = f"finish_reason {finish}" if status == "error" else ""
    return Answer(status, (text or "").strip() if status == "ok" else "", reason, finish, *spent)


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
