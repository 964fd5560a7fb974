"""Rows laid one after another. Laws: each has the loss and gradient that it has alone, no token is in two packs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_rows import random_rows
from torch import Tensor
from torch.nn import functional
from two_processes import CASES, CONFIG, adapted, rows_with_answers

import haymaker.training.packed_attention as packed_attention
import haymaker.training.run as run
from haymaker.models.load import load_model
from haymaker.models.lora import lora_parameters
from haymaker.records import Encoded
from haymaker.training.answer_rows import answer_loss
from haymaker.training.batches import MicroBatch, laid_in_line, lay_out, packs_of
from haymaker.training.loop import train
from haymaker.training.packed_attention import by_rows, by_varlen, packed_seconds

CPU = torch.device("cpu")


def gradient(model: Any, batches: Sequence[MicroBatch], rung: str) -> tuple[float, Tensor]:
    """Loss and gradient of some batches together."""
    model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = answer_loss(model, batch, "last_layer", [rung] * model.config.num_hidden_layers)  # type: ignore[list-item]
        loss.backward()
        total += loss.item()
    return total, torch.cat([w.grad.flatten() for w in lora_parameters(model).values() if w.grad is not None])


@pytest.mark.parametrize(("kind", "rung"), CASES)
def test_packed_rows_have_the_loss_and_the_gradient_that_they_have_alone(kind: str, rung: str) -> None:
    rows, model = rows_with_answers(), adapted(kind)
    for pack in (rows, rows[4:]):  # few rows of the last layer as queries, and nearly all of them
        loss, alone = gradient(model, [lay_out([row], CPU) for row in pack], "none")
        found_loss, found = gradient(model, [laid_in_line(pack, CPU)], rung)
        assert alone.norm() > 0
        assert found_loss == pytest.approx(loss, rel=1e-12)
        assert float((found - alone).norm() / alone.norm()) < 1e-6  # transformers' norms are in float32


def test_a_token_of_one_row_changes_nothing_of_another() -> None:
    model, rows = adapted("llama"), rows_with_answers()
    whole = laid_in_line(rows, CPU)
    other = whole.ids.clone()
    other[0, : len(rows[0])] = 5
    mine = laid_in_line(rows[1:], CPU)
    changed = MicroBatch(other, whole.rows, whole.targets, whole.counted, whole.layout)
    skipped = len(rows[0].answer_rows)

    def without_first(batch: MicroBatch) -> MicroBatch:
        counted = batch.counted.clone()
        counted[0, :skipped] = False
        return MicroBatch(batch.ids, batch.rows, batch.targets, counted, batch.layout)

    expected = answer_loss(model, mine, "last_layer").item()
    for batch in (whole, changed):
        assert answer_loss(model, without_first(batch), "last_layer").item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("below", [0, 25, 1_000])
def test_packs_hold_every_row_once_and_no_more_tokens_than_allowed(below: int) -> None:
    lengths = [40, 10, 30, 7, 24, 25, 90, 3]
    packs = packs_of(lengths, 64, below)
    assert sorted(sum(packs, [])) == list(range(len(lengths)))
    for pack in packs:
        if len(pack) > 1:
            assert sum(lengths[i] for i in pack) <= 64
            assert max(lengths[i] for i in pack) < below
    # 0: alone. 25: 24 10 7 3 are 44. 1,000: 90, 40+24, 30+25+7, 10+3
    assert [len(packs_of(lengths, 64, size)) for size in (0, 25, 1_000)] == [8, 5, 4]


# ---- the kernels


def reference(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scale: float, back: int) -> Tensor:
    """Attention of variable lengths [token, head, dim], by a mask of all tokens by all."""
    places, row = torch.arange(len(query)), torch.bucketize(torch.arange(len(query)), bounds, right=True)
    seen = (row[:, None] == row) & (places <= places[:, None])
    if back >= 0:
        seen &= places >= places[:, None] - back
    parts = [part.transpose(0, 1)[None] for part in (query, key, value)]
    found = functional.scaled_dot_product_attention(*parts, attn_mask=seen, scale=scale, enable_gqa=True)
    return found[0].transpose(0, 1)


def stand_in(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int, *,
    scale: float, window_size: tuple[int, int], enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """torch's signature, for a CPU, which has no such kernel."""
    assert enable_gqa == (query.shape[1] != key.shape[1])
    assert window_size[1] == 0
    assert max_q == int(cu_seq_q.diff().max())
    return reference(query, key, value, cu_seq_q, scale, window_size[0])


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("window", [None, 4, 100])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_the_kernel_of_variable_lengths_is_asked_for_what_the_rows_find(
    grouped: bool, window: int | None, kv_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_attention, "varlen_attn", stand_in)
    monkeypatch.setattr(packed_attention, "GROUPED", grouped)
    lengths, generator = [5, 1, 9], torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, sum(lengths), 8, generator=generator, dtype=torch.float64)
        for heads in (4, kv_heads, kv_heads)
    )
    expected = by_rows(query, key, value, lengths, scaling=0.3, window=window)
    found = by_varlen(query, key, value, lengths, scaling=0.3, window=window)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def refuses(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    raise RuntimeError("no kernel for this")


def lacks_memory(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    raise torch.OutOfMemoryError


def not_finite(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return query + torch.nan * (key.mean() + value.mean())


def not_finite_backwards(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    negative = -(1 + query.abs() + key.abs().mean() + value.abs().mean())
    return negative.sqrt().nan_to_num()  # finite, and its gradient is not


@pytest.mark.parametrize("kernel", [refuses, not_finite, not_finite_backwards])
def test_rows_are_not_packed_where_the_kernel_refuses_or_is_not_finite(
    kernel: Callable[..., Tensor], model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ([5, 1, 9], (4, 2, 8), CPU, torch.float32)
    assert packed_seconds(*sizes) is not None
    monkeypatch.setattr(packed_attention, "by_rows", kernel)
    assert packed_seconds(*sizes) is None
    monkeypatch.setattr(run, "PACKING_DEVICES", ("cpu",))
    monkeypatch.setattr(run, "laid_in_line", None)  # is not asked
    lm = load_model(model_folder, dtype="float32")
    result = train(lm, random_rows(7), CONFIG, tmp_path / "run", on_progress=lambda steps: None)
    assert len(result.metrics) == CONFIG.steps


def test_want_of_memory_is_no_reason_to_choose_another_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_attention, "by_rows", lacks_memory)
    with pytest.raises(torch.OutOfMemoryError):
        packed_seconds([5, 1, 9], (4, 2, 8), CPU, torch.float32)


# ---- a run


def test_a_run_that_packs_ends_where_one_does_that_does_not(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(name: str, rows: list[Encoded]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        lm = load_model(model_folder, dtype="float32")
        result = train(lm, rows, CONFIG, tmp_path / name, on_progress=lambda steps: None)
        return load_file(tmp_path / name / "adapter_model.safetensors"), result.metrics

    rows = random_rows(7)
    apart, metrics = ends("apart", rows)
    monkeypatch.setattr(run, "PACKING_DEVICES", ("cpu",))
    together, packed_metrics = ends("together", rows)
    for name in apart:
        torch.testing.assert_close(together[name], apart[name], rtol=1e-3, atol=5e-5)  # Adam, of roundings
    taken = [sum(len(row) for row in run.rows_of_step(rows, CONFIG.batch, CONFIG.seed, step)) for step in range(3)]
    assert [line["tokens"] for line in packed_metrics] == taken  # no padding
    assert [line["loss"] for line in packed_metrics] == pytest.approx([line["loss"] for line in metrics], rel=1e-5)
