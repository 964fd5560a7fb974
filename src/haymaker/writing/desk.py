"""One row at the writer's desk: its requests, numbered, and what rules can see in the texts that come back."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from haymaker.realism.answers import occurrences
from haymaker.realism.written import Asked
from haymaker.writing.config import WriterConfig
from haymaker.writing.records import Model, Request

Fault = Callable[[str], str | None]  # why a text cannot be used; None where it can
LONGEST_READING = 40  # words of a reading; a longer one recites the passage
MEANING = {
    "refused": "the model refused",
    "length": "cut off at max_tokens",
    "filtered": "filtered by the server",
    "empty": "an empty answer",
}


class Unusable(Exception):
    """No text that can be used came of all attempts; the message says of which step, and why."""


class Desk:
    """One row being written. Every request of one purpose has a sample number of its own, in order."""

    def __init__(self, asked: Asked, config: WriterConfig, model: Model) -> None:
        self.asked, self.config, self.model = asked, config, model
        self.samples: Counter[str] = Counter()
        self.calls: list[dict[str, Any]] = []

    async def text(self, purpose: str, prompt: str, likely: str, fault: Fault) -> str:
        """The first sample without a fault. Raises Unusable where no attempt gives one."""
        problem = ""
        for _ in range(self.config.attempts):
            request = self.request(purpose, prompt, likely)
            answer = await self.model.ask(request)
            self.calls.append(
                {"purpose": purpose, "cache_key": request.key, "sample": request.sample,
                 "status": answer.status, "finish_reason": answer.finish_reason}
            )  # fmt: skip
            if answer.status == "error":
                raise Unusable(f"{purpose}: {answer.reason}")
            problem = MEANING[answer.status] if answer.status != "ok" else fault(answer.text)
            if problem is None:
                return answer.text
        raise Unusable(f"{purpose}: {problem}")

    def request(self, purpose: str, prompt: str, likely: str) -> Request:
        config, sample = self.config, self.samples[purpose]
        self.samples[purpose] += 1
        parameters = config.parameters | {config.max_tokens_name: config.max_tokens}
        messages = ({"role": "user", "content": prompt},)
        return Request(self.asked.key, purpose, config.model, messages, parameters, sample, likely)

    def provenance(self, facts: list[list[str]]) -> dict[str, Any]:
        """Where the row's texts come from: the model, what it was told, and every request by its key in the cache."""
        return {
            "kind": "written",
            "model": self.config.model,
            "parameters": self.config.parameters,
            "facts": facts,
            "question": self.asked.question,
            "calls": self.calls,
        }


# ---- faults that a rule can see


def stands_in(text: str, name: str) -> bool:
    """Whether a name stands in a text as it is written, as whole words."""
    return any(text[start:stop] == name for start, stop in occurrences(text, name))


def form_fault(text: str, words: int) -> str | None:
    if "\n" in text:
        return "is not one paragraph"
    count = len(text.split())
    return None if words / 2 <= count <= words * 2 else "is shorter than half the words or longer than twice"


def reading_fault(text: str) -> str | None:
    return None if len(text.split()) <= LONGEST_READING else "is not a short answer"
