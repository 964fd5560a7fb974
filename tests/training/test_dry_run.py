"""What a run would take: bytes and operations of an 8B model, worked by hand."""

import pytest
import torch
from small_decoders import VOCABULARY, small_decoder
from tiny_rows import random_rows

from haymaker.choices import DEVICES
from haymaker.config import Rung, TrainConfig
from haymaker.errors import ConfigError
from haymaker.models.shapes import Shape
from haymaker.records import Encoded
from haymaker.training.budget import RUNGS, kept_bytes, peak_bytes, planned, said
from haymaker.training.cost import cost_of_row, floor_seconds
from haymaker.training.dry_run import forecast

LLAMA_8B = Shape(
    layers=32, hidden=4096, query=4096, key_value=1024, heads=32, inner=14336, vocabulary=128_256, element=2,
    adapter=6_815_744, base_bytes=16_060_522_496,
)  # fmt: skip
GIB = float(2**30)


def test_bytes_kept_of_a_token() -> None:
    # bfloat16: hidden 8192 B, query 8192, key and value 2048 each, gate and up 28672 each; normaliser 4 B a head
    assert kept_bytes(LLAMA_8B, "full") == 8192
    assert kept_bytes(LLAMA_8B, "attention") == 8192 + 8192 + 128
    assert kept_bytes(LLAMA_8B, "mlp") == 8192 + 8192 + 2 * 2048 + 8192 + 128 + 8192
    assert kept_bytes(LLAMA_8B, "none") == kept_bytes(LLAMA_8B, "mlp") + 2 * 28672
    assert kept_bytes(LLAMA_8B, "offload") == 0


def test_an_8b_model_fits_80_gb_at_every_length_asked_for() -> None:
    plans = {n: planned(LLAMA_8B, n, 0.93 * 79 * GIB) for n in (8_192, 32_768, 65_536, 131_072)}
    assert said(plans[8_192]) == "none in 32 layers"
    assert set(plans[32_768]) == {"none", "mlp"}
    assert set(plans[131_072]) == {"attention", "full"}
    for tokens, rungs in plans.items():
        assert peak_bytes(LLAMA_8B, tokens, rungs) <= 0.93 * 79 * GIB
    assert set(planned(LLAMA_8B, 4_000_000, 20 * GIB)) == {"offload"}  # nothing fits: the smallest


def test_plans_are_monotonous_in_memory() -> None:
    ranks = [sum(RUNGS.index(rung) for rung in planned(LLAMA_8B, 32_768, free * GIB)) for free in range(20, 200, 5)]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[-1] == 0


def test_operations_of_an_8b_step() -> None:
    # 2 x 6.98e9 x 32768 dense, 2 x 32 x 4096 x 32768^2 attention; twice and 3.5 times that, less the last layer's
    rungs: list[Rung] = ["none"] * 32
    cost = cost_of_row(LLAMA_8B, 32_768, 128, rungs)
    dense, attention = 457.4e12, 281.5e12
    whole = 2 * dense + 3.5 * attention
    assert 0.955 * whole < cost.operations < whole
    mlp = cost_of_row(LLAMA_8B, 32_768, 128, ["mlp"] * 32)
    assert mlp.products - cost.products == pytest.approx(246.3e12 * 31 / 32, rel=1e-3)
    assert 2.5 < floor_seconds(LLAMA_8B, 32_768, ["mlp"] * 32) < 2.68


def test_a_forecast_is_the_sum_of_its_steps() -> None:
    rows = random_rows(5, vocabulary=VOCABULARY)
    config = TrainConfig(steps=4, batch=5, rank=2)
    model = small_decoder("llama").config
    found = forecast(model, rows, config, torch.bfloat16, "h100")
    assert found["steps"] == 4
    assert found["rows"] == 20
    assert found["tokens"] == 4 * sum(map(len, rows))
    assert found["answer_tokens"] == 4 * 5 * 3
    assert found["parameters"] == 3 * 2 * (64 + 48 + 48 + 64)  # layers x rank x (in + out of q, k, v, o)
    assert found["fits"]
    assert found["hours"] > 0
    assert forecast(model, rows, config, torch.bfloat16, "a100")["hours"] > found["hours"]
    assert forecast(model, rows, config, torch.float32)["device"] in ("cpu", "cuda")


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ConfigError, match=f"device: expected one of {', '.join(DEVICES)}, found 'tpu'"):
        forecast(small_decoder("llama").config, [Encoded("a", (5, 6, 7), 2)], TrainConfig(), torch.bfloat16, "tpu")
