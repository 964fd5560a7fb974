"""Tokens before they are counted, dollars before and after they are spent."""

from dataclasses import dataclass, field

from haymaker.writing.config import WriterConfig
from haymaker.writing.records import Answer, Request

BYTES_PER_TOKEN = 4  # of UTF-8 English; corrected by what the server counts
TOKENS_PER_MESSAGE = 6  # of chat templates
MILLION = 1_000_000


class OverCap(Exception):
    """One more request might cost more than the cap leaves."""


def rough_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def before_correction(request: Request) -> int:
    return rough_tokens(request.prompt) + TOKENS_PER_MESSAGE * len(request.messages)


@dataclass
class PromptTokens:
    """Estimates the tokens of prompts, and learns from the server's counts how far off it is."""

    estimated: int = 0
    counted: int = 0

    def of(self, request: Request) -> int:
        raw = before_correction(request)
        return -(-raw * self.counted // self.estimated) if self.estimated else raw

    def learn(self, request: Request, answer: Answer) -> None:
        if answer.input_tokens:
            self.estimated += before_correction(request)
            self.counted += answer.input_tokens


def counted_tokens(request: Request, answer: Answer) -> tuple[int, int]:
    """Tokens of prompt and answer as the server counted them; estimates where it did not."""
    if answer.input_tokens or answer.output_tokens:
        return answer.input_tokens, answer.output_tokens
    return rough_tokens(request.prompt), rough_tokens(answer.text) if answer.text else request.max_tokens


@dataclass
class Spend:
    """What a run's answers cost, those from the cache included: a run that goes on stays under the same cap."""

    config: WriterConfig
    paid_dollars: float = 0.0  # by this run
    replayed_dollars: float = 0.0  # by earlier ones
    reserved: dict[int, float] = field(default_factory=dict)  # of requests under way, at their longest

    def dollars(self, input_tokens: int, output_tokens: int) -> float:
        """The price of so many tokens."""
        prices = self.config.dollars_per_million_input_tokens, self.config.dollars_per_million_output_tokens
        return (input_tokens * prices[0] + output_tokens * prices[1]) / MILLION

    def reserve(self, input_tokens: int, output_tokens: int) -> int:
        """Set aside what a request may cost. Raises OverCap where the cap does not leave that much."""
        price = self.dollars(input_tokens, output_tokens)
        cap = self.config.spend_cap_dollars
        if cap is not None and self.total_dollars + sum(self.reserved.values()) + price > cap:
            raise OverCap
        number = max(self.reserved, default=0) + 1
        self.reserved[number] = price
        return number

    def settle(self, reservation: int, request: Request, answer: Answer) -> None:
        """An answer came: what it cost takes the place of what was set aside."""
        del self.reserved[reservation]
        self.paid_dollars += self.dollars(*counted_tokens(request, answer))

    def release(self, reservation: int, maybe_charged: bool) -> None:
        """No answer came. What may have been charged all the same counts as spent."""
        price = self.reserved.pop(reservation)
        self.paid_dollars += price if maybe_charged else 0.0

    def replay(self, request: Request, answer: Answer) -> None:
        self.replayed_dollars += self.dollars(*counted_tokens(request, answer))

    @property
    def total_dollars(self) -> float:
        return self.paid_dollars + self.replayed_dollars
