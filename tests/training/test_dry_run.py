"""What a run would take: bytes and operations of an 8B model, worked by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_decoders import VOCABULARY, small_decoder
from tiny_rows import random_rows

from haymaker.choices import DEVICE_NAMES, DEVICES, named_device
from haymaker.config import Rung, TrainConfig
from haymaker.errors import ConfigError
from haymaker.models.shapes import Shape
from haymaker.records import Encoded
from haymaker.training import dry_run
from haymaker.training.budget import KERNEL_BYTES, RUNGS, Largest, kept_bytes, peak_bytes, planned, said
from haymaker.training.cost import LAUNCH_SECONDS, cost_of_row, together_seconds
from haymaker.training.dry_run import forecast, forecast_run

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
    assert forecast(model, rows, config, torch.float32)["device"] in ("cpu", "cuda")


def test_a_forecast_of_steps_without_end_looks_at_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, model = random_rows(5, vocabulary=VOCABULARY), small_decoder("llama").config
    config = TrainConfig(steps=10**12, batch=5, rank=2)
    monkeypatch.setattr(dry_run, "MOST_ROWS", 10)
    few, many = (forecast(model, rows, one, torch.bfloat16, "h100") for one in (config.changed(steps=4), config))
    assert many["hours"] == pytest.approx(few["hours"] * 10**12 / 4)
    for name in ("steps", "rows", "tokens", "answer_tokens"):
        assert many[name] * 4 == few[name] * 10**12, name


def test_quantised_weights_are_as_large_as_their_files(model_folder: Path, new_model: Callable[..., Any]) -> None:
    def peak() -> int:
        how = TrainConfig(steps=1, batch=1, rank=2)
        found = forecast_run(str(model_folder), random_rows(3), how, None, dtype="bfloat16", device="h100")
        return found["peak_bytes"]

    plain = 2 * sum(weight.numel() for weight in new_model().parameters())
    others = peak() - plain
    path, weights = model_folder / "config.json", model_folder / "model.safetensors"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    assert peak() == others + weights.stat().st_size
    weights.unlink()
    assert peak() == others + plain  # nobody knows


@pytest.mark.parametrize("device", DEVICE_NAMES)
def test_a_run_is_reckoned_on_every_device_by_its_name(device: str) -> None:
    model, rows = small_decoder("llama").config, random_rows(3, vocabulary=VOCABULARY)
    found = forecast(model, rows, TrainConfig(steps=1, batch=3, rank=2), torch.bfloat16, device)
    assert (found["device"], found["fits"], found["hours"] > 0) == (device, True, True)
    if device in DEVICES:  # what is measured here takes what is free here
        assert found["memory_bytes"] == DEVICES[device].memory


def test_a_b200_is_the_fastest_and_an_old_name_is_still_known() -> None:
    none: list[Rung] = ["none"] * 32
    seconds = {name: cost_of_row(LLAMA_8B, 8_192, 64, none).seconds(DEVICES[name]) for name in DEVICES}
    order = ["b200", "h100", "a100-80gb", "a100-40gb", "rtx-4090", "mps"]
    assert sorted(order, key=lambda name: seconds[name]) == order
    assert named_device("a100") == named_device("A100-80GB") == "a100-80gb"


def test_what_an_h100_took_is_foreseen() -> None:
    # benchmarks/results, 2026-11-26, less what was kept for nothing then: 28,672 B of a token in a layer that keeps all
    measured: list[tuple[int, Rung, Rung, float, float]] = [  # tokens, what the first 12 layers keep, the others, ...
        (8_192, "none", "none", 0.564, 38.1),
        (16_384, "none", "none", 1.323, 61.1),
        (131_072, "attention", "full", 42.76, 70.3),
    ]
    for tokens, first, others, seconds, gib in measured:
        rungs = [first if layer < 12 else others for layer in range(32)]
        assert cost_of_row(LLAMA_8B, tokens, 128, rungs).seconds(DEVICES["h100"]) == pytest.approx(seconds, rel=0.25)
        assert peak_bytes(LLAMA_8B, tokens, rungs, largest=Largest(128)) / GIB == pytest.approx(gib, rel=0.05)


def test_short_rows_on_a_gpu_wait_for_launches_and_share_them_in_line() -> None:
    # benchmarks/results/gpu-train-nvidia-h100-80gb-hbm3.md: 12 rows one after another, and in nine passes; the lengths
    # are those that `gpu_train.short_rows` draws
    passes = [[2041, 1985], [1817, 1780, 1732], [1495], [1388], [1208], [997], [854], [589], [498]]
    none: list[Rung] = ["none"] * 32
    costs = [[cost_of_row(LLAMA_8B, length, length // 32, none) for length in lengths] for lengths in passes]
    alone = [[cost] for part in costs for cost in part]
    h100 = DEVICES["h100"]
    for parts, seconds in ((alone, 2.852), (costs, 2.013)):
        told = sum(together_seconds(part, 32, h100, gpu=True) for part in parts)
        assert told == pytest.approx(seconds, rel=0.1)
    assert together_seconds(costs[-1], 32, h100, gpu=False) == costs[-1][0].seconds(h100) < LAUNCH_SECONDS * 32
    # 8 steps of 4 rows of 40 tokens in 3 layers: in line one pass a step, two where two rows fill it
    model, rows = small_decoder("llama").config, [Encoded(str(i), (5,) * 40, 38) for i in range(8)]
    hours = [forecast(model, rows, TrainConfig(steps=8, batch=4, tokens_at_once=most), torch.bfloat16, "h100")["hours"]
             for most in (160, 80)]  # fmt: skip
    assert [3_600 * one for one in hours] == pytest.approx([8 * 3 * LAUNCH_SECONDS, 16 * 3 * LAUNCH_SECONDS])


def test_memory_is_that_of_the_rows_that_a_step_takes_and_of_their_answers() -> None:
    model, rows = small_decoder("llama").config, [Encoded(str(i), (5,) * 40, 38) for i in range(20)]
    peaks = [
        forecast(model, rows, TrainConfig(steps=1, batch=batch, recompute="none"), torch.bfloat16, "h100")["peak_bytes"]
        for batch in (1, 4, 20)
    ]
    assert peaks[1] - peaks[0] == pytest.approx(3 * (peaks[2] - peaks[0]) / 19, rel=1e-6)
    none: list[Rung] = ["none"] * 32
    few, many = (peak_bytes(LLAMA_8B, 1_024, none, largest=Largest(n)) for n in (8, 1_024))
    assert (
        many > few == peak_bytes(LLAMA_8B, 1_024, none, largest=Largest(9))
    )  # logits of 9 are less than a layer passes


def test_a_cpu_keeps_probabilities_of_short_rows_in_full_precision() -> None:
    # of 9 heads and 512 tokens: 2 x 9 x (512 + 64) B of a token in each of 30 layers, and a tenth for malloc's holes
    small = Shape(30, 576, 576, 192, 9, 1536, 49_152, 4, 0, 0)
    none: list[Rung] = ["none"] * 30
    there, here = (peak_bytes(small, 512, none, largest=Largest(8, row)) for row in (None, 512))
    assert here - KERNEL_BYTES == pytest.approx(1.1 * (there + 512 * 30 * 2 * 9 * 576), rel=1e-6)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ConfigError, match=f"device: expected one of {', '.join(DEVICE_NAMES)}, found 'tpu'"):
        forecast(small_decoder("llama").config, [Encoded("a", (5, 6, 7), 2)], TrainConfig(), torch.bfloat16, "tpu")


def test_heads_that_the_model_does_not_have_are_refused_in_thought() -> None:
    config = TrainConfig(heads=("99-0",))
    with pytest.raises(ConfigError, match="heads: 99-0 is not among"):
        forecast(small_decoder("llama").config, [Encoded("a", (5, 6, 7), 2)], config, torch.bfloat16, "h100")
