"""What a writer is told: which model, where, how much of it at once, and what it may cost."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from haymaker.config import Frozen
from haymaker.errors import ConfigError


class WriterConfig(Frozen):
    """A language model behind an OpenAI-compatible endpoint. The key is read from the environment and nowhere else."""

    model: str = Field(description="the model's name at the endpoint")
    base_url: str | None = Field(default=None, description="endpoint; None takes OPENAI_BASE_URL of the environment")
    key_variable: str = Field(default="OPENAI_API_KEY", description="environment variable that holds the key")
    temperature: float | None = Field(default=1.0, ge=0, description="None leaves it out of the request")
    max_tokens: int = Field(default=512, ge=1, description="most tokens of one answer")
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="what the endpoint calls that number"
    )
    extra: dict[str, Any] = Field(default_factory=dict, description="further keys of every request, top_p say")
    seed: int = Field(default=0, description="of the invented names, and of the waits between retries")

    words: int = Field(
        default=100, ge=10, le=100_000, description="words a passage should have; half to twice as many are taken"
    )
    attempts: int = Field(default=3, ge=1, description="samples of an answer, until one is usable")
    haystack_passages: int = Field(default=20, ge=0, description="other passages that must not give the answer")

    concurrency: int = Field(default=8, ge=1, le=4096, description="most requests in flight")
    tokens_in_flight: int | None = Field(default=None, ge=1, description="most tokens in flight; None: no limit")
    requests_per_minute: int | None = Field(default=None, ge=1, description="most requests begun; None: no limit")
    tokens_per_minute: int | None = Field(default=None, ge=1, description="of prompts and answers together")
    timeout_seconds: float = Field(default=120.0, gt=0, description="of one request, from first byte to last")
    retries: int = Field(default=6, ge=0, description="of one request after errors that may pass")
    longest_wait_seconds: float = Field(
        default=600.0, gt=0, description="that a server's rate limits may hold a request"
    )

    dollars_per_million_input_tokens: float = Field(default=0.0, ge=0, description="price of prompts")
    dollars_per_million_output_tokens: float = Field(default=0.0, ge=0, description="price of answers")
    spend_cap_dollars: float | None = Field(default=None, gt=0, description="of all answers a run uses; None: no cap")

    @field_validator("base_url")
    @classmethod
    def base_url_without_secrets(cls, value: str | None) -> str | None:
        """Addresses are printed and stored, so none may hold a key. The error must not show it either."""
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("base_url: expected an address like http://127.0.0.1:8000/v1, found another form")
        if parts.username or parts.password or parts.query:
            raise ConfigError("base_url: found a user, a password or a query in it; keys belong in the environment")
        return value

    @field_validator("extra")
    @classmethod
    def extra_without_known_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        own = {"model", "messages", "temperature", "max_tokens", "max_completion_tokens", "stream", "n"} & set(value)
        if own:
            raise ValueError(f"{', '.join(sorted(own))}: set by the writer itself")
        return value

    @model_validator(mode="after")
    def cap_has_prices(self) -> "WriterConfig":
        prices = self.dollars_per_million_input_tokens + self.dollars_per_million_output_tokens
        if self.spend_cap_dollars is not None and not prices:
            raise ValueError("spend_cap_dollars needs dollars_per_million_input_tokens and ..._output_tokens")
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """What every request says beside model, messages and its token limit."""
        return ({} if self.temperature is None else {"temperature": self.temperature}) | self.extra
