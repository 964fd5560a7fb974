"""What a run would ask and what that would cost, without asking: the same steps, with answers that are made up."""

from dataclasses import dataclass

from haymaker.writing.cache import Cache
from haymaker.writing.client import answer_of
from haymaker.writing.config import WriterConfig
from haymaker.writing.records import Answer, Request
from haymaker.writing.spend import PromptTokens, Spend, rough_tokens


@dataclass(frozen=True)
class Estimate:
    """Requests to be sent and requests the cache answers; tokens and dollars of those to be sent.

    Every answer is taken to be usable at once; `longest_dollars` takes every answer to be as long as it may be.
    """

    requests: int
    cached: int
    input_tokens: int
    output_tokens: int
    dollars: float
    longest_dollars: float


class DryRun:
    """Answers from the cache, and where that has none with what a good answer looks like."""

    def __init__(self, config: WriterConfig, cache: Cache | None) -> None:
        self.config, self.cache = config, cache
        self.prompt_tokens, self.spend = PromptTokens(), Spend(config)
        self.asked: set[str] = set()
        self.cached = self.input_tokens = self.output_tokens = self.longest_tokens = 0

    async def ask(self, request: Request) -> Answer:
        entry = None if self.cache is None else self.cache.get(request.key)
        if entry is not None and not entry.asked_again:
            self.cached += 1
            answer = answer_of(entry)
            self.prompt_tokens.learn(request, answer)
            return answer
        if request.key not in self.asked:
            self.asked.add(request.key)
            self.input_tokens += self.prompt_tokens.of(request)
            self.output_tokens += rough_tokens(request.expected)
            self.longest_tokens += request.max_tokens
        return Answer("ok", request.expected, finish_reason="stop")

    def estimate(self) -> Estimate:
        return Estimate(
            requests=len(self.asked),
            cached=self.cached,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            dollars=self.spend.dollars(self.input_tokens, self.output_tokens),
            longest_dollars=self.spend.dollars(self.input_tokens, self.longest_tokens),
        )
