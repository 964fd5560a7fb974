"""Tokens before they are counted, and a cap that no order of events passes."""

from contextlib import suppress
from random import Random

import pytest

from haymaker.writing.config import WriterConfig
from haymaker.writing.records import Answer, Request
from haymaker.writing.spend import OverCap, PromptTokens, Spend

PRICES = {"dollars_per_million_input_tokens": 1_000.0, "dollars_per_million_output_tokens": 10_000.0}


def request(text: str = "four") -> Request:
    return Request("row", "passage", "m", ({"role": "user", "content": text},), {"max_tokens": 20})


def test_no_order_of_answers_and_failures_passes_the_cap() -> None:
    """Prompts of 10 tokens are 0.01 dollars, answers of at most 20 are 0.2: four may be under way under one of 1."""
    spend, rng, underway, most = Spend(WriterConfig(model="m", spend_cap_dollars=1.0, **PRICES)), Random(0), [], 0
    for _ in range(200):
        if underway and rng.random() < 0.5:
            number = underway.pop(rng.randrange(len(underway)))
            if rng.random() < 0.5:
                spend.settle(number, request(), Answer("ok", "text", input_tokens=10, output_tokens=rng.randrange(21)))
            else:
                spend.release(number, maybe_charged=rng.random() < 0.3)
        else:
            with suppress(OverCap):
                underway.append(spend.reserve(10, 20))
        most = max(most, len(underway))
        assert spend.total_dollars + sum(spend.reserved.values()) <= 1.0
    assert most == 4
    assert spend.total_dollars > 0.79  # less than one request's 0.21 is left


def test_what_failed_before_it_was_sent_costs_nothing_and_what_may_have_been_charged_counts() -> None:
    spend = Spend(WriterConfig(model="m", **PRICES))
    spend.release(spend.reserve(10, 20), maybe_charged=False)
    assert spend.total_dollars == 0.0
    spend.release(spend.reserve(10, 20), maybe_charged=True)
    assert spend.total_dollars == pytest.approx(0.21)


def test_estimates_learn_from_what_the_server_counts() -> None:
    """Forty letters are ten tokens, and six are a template's; a server that counts 32 for 16 doubles what follows."""
    tokens = PromptTokens()
    assert tokens.of(request("x" * 40)) == 16
    tokens.learn(request("x" * 40), Answer("ok", "text", input_tokens=32))
    assert tokens.of(request("x" * 400)) == 2 * (100 + 6)
    tokens.learn(request("x" * 40), Answer("ok", "text"))  # counted nothing: nothing to learn
    assert tokens.of(request("x" * 40)) == 32
