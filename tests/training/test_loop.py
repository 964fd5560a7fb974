"""Training. Laws: cheap forwards are exact, cutting and padding change nothing, a stopped run ends on the same bits."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_rows import CONTEXT, random_rows
from torch.nn import functional
from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

import haymaker.training.answer_rows as answer_rows
import haymaker.training.checks as checks
import haymaker.training.run as run
from haymaker.config import TrainConfig
from haymaker.errors import DataError, Interrupted, LengthError, ModelError
from haymaker.models.handshake import weights_digest
from haymaker.models.load import LanguageModel
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.models.rounding import rounding_difference
from haymaker.records import Encoded, Example, Message, Segment
from haymaker.training.answer_rows import Method, answer_loss, best_method, first_logits
from haymaker.training.batches import encoded_rows, lay_out, rows_of_step
from haymaker.training.checks import check_first_gradients
from haymaker.training.loop import train
from haymaker.training.optimizer import rate_share
from haymaker.training.small_cpu import CausalBlocks

CPU = torch.device("cpu")
CONFIG = TrainConfig(steps=6, batch=3, rank=2, rate=0.01, save_every=2)
HALF_ROTARY = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}


def quiet(steps: int) -> None:
    """Takes the metrics, so that no progress bar is drawn."""


def tiny(kind: str, new_model: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    shape: dict[str, Any] = dict(
        vocab_size=512, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=12)).eval()
    if kind == "phi3":
        return Phi3ForCausalLM(Phi3Config(**shape, rope_parameters=dict(HALF_ROTARY))).eval()
    return new_model(kind)


def gradients(
    model: PreTrainedModel, rows: list[Encoded], method: Method, dtype: torch.dtype = torch.float64
) -> tuple[float, torch.Tensor]:
    """Loss and all adapter gradients in one vector, with an adapter that is not at its start."""
    wrapped = add_lora(model, rank=2, alpha=4.0, seed=0).to(dtype)
    weights = list(lora_parameters(wrapped).values())
    generator = torch.Generator().manual_seed(1)
    for weight in weights:
        weight.data = torch.randn(weight.shape, generator=generator).to(dtype) * 0.1
    loss = answer_loss(wrapped, lay_out(rows, CPU), method)
    loss.backward()
    return loss.item(), torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])


# ---- the cheap forward


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen3", "phi3"])
@pytest.mark.parametrize("method", ["last_layer", "head"])
def test_answer_rows_alone_give_the_gradients_of_the_plain_forward(kind: str, method: Method, new_model) -> None:
    rows = random_rows(5)  # of 20 to 40 tokens: Mistral's window of 16 hides most of them
    loss, found = gradients(tiny(kind, new_model), rows, method)
    plain_loss, plain = gradients(tiny(kind, new_model), rows, "all_rows")
    assert best_method(tiny(kind, new_model)) == "last_layer"
    assert loss == pytest.approx(plain_loss, rel=1e-12)
    assert float((found - plain).norm() / plain.norm()) < 1e-6  # angles are in float32
    assert plain.norm() > 0


@pytest.mark.parametrize("method", ["last_layer", "head"])
def test_in_single_precision_gradients_are_as_near_the_truth_as_the_plain_ones(method: Method, new_model) -> None:
    rows = random_rows(5, longest=150)  # of 75 to 150 tokens: attention takes several blocks of 64
    truth = gradients(new_model(), rows, "all_rows")[1]
    plain = gradients(new_model(), rows, "all_rows", torch.float32)[1]
    found = gradients(new_model(), rows, method, torch.float32)[1]
    assert float((found - plain).norm() / plain.norm()) < 5e-6
    assert (found - truth).norm() < 2 * (plain - truth).norm()


@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 150])
def test_attention_in_blocks_is_attention(tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, tokens, 8), (2, 2, tokens, 8), (2, 2, tokens, 8), (2, 4, tokens, 8)]
    query, key, value, weight = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    inputs = [part.requires_grad_() for part in (query, key, value)]
    blocked = CausalBlocks.apply(*inputs, 0.3)
    usual = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(blocked, usual, rtol=1e-12, atol=1e-12)
    for found, expected in zip(
        torch.autograd.grad(blocked, inputs, weight), torch.autograd.grad(usual, inputs, weight), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_plain_forward_is_the_usual_masked_loss(new_model) -> None:
    row = random_rows(1)[0]
    model, ids = new_model(), torch.tensor([row.input_ids])
    labels = ids.clone()
    labels[0, : row.prompt_length] = -100
    usual = model(input_ids=ids, labels=labels).loss.item() * len(row.answer_ids)
    assert answer_loss(model, lay_out([row], CPU), "last_layer").item() == pytest.approx(usual, rel=1e-5)


def test_padding_and_company_change_no_row(new_model) -> None:
    model, rows = new_model(), random_rows(4)
    together = answer_loss(model, lay_out(rows, CPU), "last_layer").item()
    alone = sum(answer_loss(model, lay_out([row], CPU), "last_layer").item() for row in rows)
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_method_that_disagrees_is_not_used_and_the_record_says_so(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "relative_difference", lambda *_: 0.1)
    assert train(lm, random_rows(4), CONFIG, tmp_path, on_progress=quiet).record["method"] == "head"


def test_a_long_row_is_verified_at_places_all_over_its_first_tokens(new_model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three answer rows of a row of 20 tokens, of which ten are read: places 0, 4 and 9."""
    monkeypatch.setattr(answer_rows, "VERIFIED_TOKENS", 10)
    model, ids, rows = new_model(), torch.arange(3, 23)[None], torch.tensor([[16, 17, 18]])
    found = answer_rows.first_logits(model, ids, rows, "head")
    assert torch.allclose(found, model(input_ids=ids[:, :10]).logits[:, [0, 4, 9]], atol=1e-5)


@pytest.mark.parametrize(("dtype", "difference", "agrees"), [
    ("bfloat16", 0.9, True), ("bfloat16", 1.1, False), ("float32", 0.9, False),
])  # fmt: skip
def test_below_float32_a_method_may_disagree_by_twice_what_rounding_does(
    dtype: str, difference: float, agrees: bool, new_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = new_model().to(getattr(torch, dtype)), lay_out(random_rows(1), CPU)
    plain = partial(first_logits, model, batch.ids, batch.rows, "head")
    noise = rounding_difference(model, plain)
    monkeypatch.setattr(checks, "relative_difference", lambda *_: difference * 2 * noise)
    assert checks.agrees(model, batch, "last_layer", tolerance=0.0) == agrees


def test_the_record_names_the_method(lm: LanguageModel, tmp_path: Path) -> None:
    result = train(lm, random_rows(4), CONFIG, tmp_path, on_progress=quiet)
    assert json.loads((tmp_path / "training.json").read_text())["method"] == "last_layer"
    assert result.record["parameters"] == 3 * 2 * (64 + 48 + 48 + 64)  # layers x rank x (in + out of q, k, v, o)


# ---- batches


def test_a_base_left_in_train_mode_is_trained_without_its_dropout(lm: LanguageModel, new_model, tmp_path: Path) -> None:
    rows = random_rows(6)
    expected = train(lm, rows, CONFIG, tmp_path / "eval", on_progress=quiet)
    base = new_model().train()
    for module in base.modules():
        module.attention_dropout = module.dropout = 0.5
    got = train(LanguageModel(base, lm.tokenizer, "other"), rows, CONFIG, tmp_path / "train", on_progress=quiet)
    assert [line["loss"] for line in got.metrics] == [line["loss"] for line in expected.metrics]


def test_every_epoch_has_every_row_once_in_its_own_order() -> None:
    rows = random_rows(10)
    stream = [row.example_id for step in range(5) for row in rows_of_step(rows, 4, seed=0, step=step)]
    assert sorted(stream[:10]) == sorted(stream[10:]) == sorted(row.example_id for row in rows)
    assert stream[:10] != stream[10:]


def test_order_depends_on_the_seed_and_not_on_the_batch() -> None:
    rows = random_rows(10)

    def stream(batch: int, seed: int) -> list[str]:
        return [row.example_id for step in range(40 // batch) for row in rows_of_step(rows, batch, seed, step)]

    assert stream(4, 0) == stream(20, 0) == stream(40, 0)
    assert stream(4, 0) != stream(4, 1)


def test_long_rows_are_named_and_nothing_is_written(lm: LanguageModel, tmp_path: Path) -> None:
    rows = [*random_rows(3), Encoded("too-long", (5,) * (CONTEXT + 1), CONTEXT)]
    with pytest.raises(LengthError, match=rf"1 of 4 rows.*context of {CONTEXT} tokens: too-long \({CONTEXT + 1}\)"):
        train(lm, rows, CONFIG, tmp_path / "out", on_progress=quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("rows", "message"), [([], "found none"), ([Encoded("mute", (5, 6), 2)], "mute")])
def test_rows_that_teach_nothing_are_refused(lm: LanguageModel, tmp_path: Path, rows: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        train(lm, rows, CONFIG, tmp_path / "out", on_progress=quiet)


def test_examples_are_encoded_and_keep_their_order(lm: LanguageModel) -> None:
    message = Message("user", (Segment("Question: Who?\nAnswer:"),))
    example = Example("one", "mdqa", (message,), "Who?", ("Dora",))
    rows = encoded_rows([random_rows(1)[0], example], lm.tokenizer, CONTEXT)
    assert [row.example_id for row in rows] == ["row-0", "one"]
    assert str(lm.tokenizer.decode(list(rows[1].input_ids))).endswith("Question: Who?\nAnswer: Dora<|end|>")


# ---- the loop


def test_rates_rise_and_fall() -> None:
    # 10 steps, a fifth of them warm-up: 1/3, 2/3, then 8/8 down to 1/8
    shares = [rate_share(step, 10, 0.2) for step in range(10)]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rate_share(0, 1, 0.05) == 1


def test_training_learns_and_leaves_the_base_alone(lm: LanguageModel, tmp_path: Path) -> None:
    before = weights_digest(lm.model)
    config = CONFIG.changed(steps=40, batch=2, rate=0.02, rank=8)  # at 0.05 it leaps, on some processors back
    result = train(lm, random_rows(2), config, tmp_path, on_progress=quiet)
    assert result.final_loss < result.metrics[0]["loss"] / 3
    assert weights_digest(lm.model) == before
    assert lm.adapter == tmp_path
    assert not lm.model.training
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())


def test_metrics_have_a_line_for_every_step(lm: LanguageModel, tmp_path: Path) -> None:
    seen: list[int] = []
    result = train(lm, random_rows(4), CONFIG, tmp_path, on_progress=seen.append)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == result.metrics
    assert seen == [0, 1, 1, 1, 1, 1, 1]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {line["answer_tokens"] for line in lines} == {9}
    assert set(lines[0]) == {
        "step", "loss", "answer_tokens", "tokens", "gradient_norm", "rate", "seconds", "tokens_per_second",
        "peak_bytes",
    }  # fmt: skip


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = adapter_of(one), adapter_of(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_cutting_a_step_in_parts_does_not_change_the_objective(lm: LanguageModel, new_model, tmp_path: Path) -> None:
    train(lm, random_rows(6), CONFIG, tmp_path / "whole", on_progress=quiet)
    other = LanguageModel(new_model().requires_grad_(False), lm.tokenizer, "tiny")
    train(other, random_rows(6), CONFIG.changed(tokens_at_once=1), tmp_path / "parts", on_progress=quiet)
    whole, parts = adapter_of(tmp_path / "whole"), adapter_of(tmp_path / "parts")
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-3, atol=1e-4)


def stop_after(step: int, how: Callable[[], Any]) -> Callable[[int], None]:
    done = 0

    def count(steps: int) -> None:
        nonlocal done
        done += steps
        if done == step:
            how()

    return count


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise RuntimeError("out of luck")


@pytest.mark.parametrize(
    ("how", "error", "resumes_after"),
    [(press_ctrl_c, Interrupted, 3), (raise_interrupt, Interrupted, 3), (fail, RuntimeError, 2)],
)
def test_a_stopped_run_ends_on_the_same_bits(
    lm: LanguageModel, new_model, tmp_path: Path, how: Callable[[], Any], error: type[Exception], resumes_after: int
) -> None:
    straight = LanguageModel(new_model().requires_grad_(False), lm.tokenizer, "tiny")
    expected = train(straight, random_rows(5), CONFIG, tmp_path / "straight", on_progress=quiet)
    with pytest.raises(error):
        train(lm, random_rows(5), CONFIG, tmp_path / "stopped", on_progress=stop_after(3, how))
    assert isinstance(lm.model, PreTrainedModel)  # as it was
    assert not any("lora" in name for name, _ in lm.model.named_parameters())
    torch.rand(7)
    told: list[int] = []
    result = train(lm, random_rows(5), CONFIG, tmp_path / "stopped", on_progress=told.append)
    assert (told[0], sum(told)) == (resumes_after, CONFIG.steps)
    assert_same_bits(tmp_path / "straight", tmp_path / "stopped")
    assert result.record["resumed_from"] == resumes_after
    assert [line["loss"] for line in result.metrics] == [line["loss"] for line in expected.metrics]
    assert not (tmp_path / "stopped" / "state.safetensors").exists()


def test_an_interrupt_within_an_update_goes_back_to_the_last_whole_step(
    lm: LanguageModel, new_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn_step(optimizer: torch.optim.AdamW) -> None:
        original(optimizer)
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    calls: list[int] = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", torn_step)
    with pytest.raises(Interrupted, match="stopped after step 2 of 6"):
        train(lm, random_rows(5), CONFIG, tmp_path / "torn", on_progress=quiet)
    train(lm, random_rows(5), CONFIG, tmp_path / "torn", on_progress=quiet)
    straight = LanguageModel(new_model().requires_grad_(False), lm.tokenizer, "tiny")
    train(straight, random_rows(5), CONFIG, tmp_path / "straight", on_progress=quiet)
    assert_same_bits(tmp_path / "straight", tmp_path / "torn")


def test_the_signal_handler_is_given_back(lm: LanguageModel, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped after step 1 of 6"):
        train(lm, random_rows(5), CONFIG, tmp_path, on_progress=stop_after(1, press_ctrl_c))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [(random_rows(5, seed=1), {}, "another data"), (random_rows(5), {"rate": 0.02}, "another config")],
)
@pytest.mark.parametrize("stop", [3, 6])
def test_another_run_does_not_go_on_here(
    lm: LanguageModel, new_model, tmp_path: Path, rows: list, changes: dict, message: str, stop: int
) -> None:
    if stop < CONFIG.steps:
        with pytest.raises(Interrupted):
            train(lm, random_rows(5), CONFIG, tmp_path, on_progress=stop_after(stop, raise_interrupt))
    else:
        train(lm, random_rows(5), CONFIG, tmp_path, on_progress=quiet)
    other = LanguageModel(new_model().requires_grad_(False), lm.tokenizer, "tiny")
    with pytest.raises(DataError, match=f"{message}.*overwrite"):
        train(other, rows, CONFIG.changed(**changes), tmp_path, on_progress=quiet)
    result = train(other, rows, CONFIG.changed(**changes), tmp_path, overwrite=True, on_progress=quiet)
    assert len(result.metrics) == CONFIG.steps
    assert result.record["resumed_from"] == 0


def test_a_finished_run_is_loaded_and_not_run_again(lm: LanguageModel, new_model, tmp_path: Path) -> None:
    first = train(lm, random_rows(5), CONFIG, tmp_path, on_progress=quiet)
    again = LanguageModel(new_model().requires_grad_(False), lm.tokenizer, "tiny")
    second = train(again, random_rows(5), CONFIG, tmp_path, on_progress=lambda steps: pytest.fail("a step ran"))
    assert (second.metrics, second.record) == (first.metrics, first.record)
    ids = torch.arange(10, 40)[None]
    assert torch.equal(lm.model(input_ids=ids).logits, again.model(input_ids=ids).logits)


def test_a_line_that_a_crash_cut_short_is_written_again(lm: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        train(lm, random_rows(5), CONFIG, tmp_path, on_progress=stop_after(3, fail))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    result = train(lm, random_rows(5), CONFIG, tmp_path, on_progress=quiet)
    assert [line["step"] for line in result.metrics] == [1, 2, 3, 4, 5, 6]


def test_a_state_file_that_is_none_is_named(lm: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a training state"):
        train(lm, random_rows(5), CONFIG, tmp_path, on_progress=quiet)


def test_a_second_adapter_on_top_is_refused(lm: LanguageModel, tmp_path: Path) -> None:
    train(lm, random_rows(5), CONFIG, tmp_path / "one", on_progress=quiet)
    with pytest.raises(ModelError, match="already carries an adapter"):
        train(lm, random_rows(5), CONFIG, tmp_path / "two", on_progress=quiet)


def test_a_projection_that_learns_nothing_stops_the_run(lm: LanguageModel) -> None:
    wrapped = add_lora(lm.model, rank=2, alpha=4.0, seed=0)
    answer_loss(wrapped, lay_out(random_rows(2), CPU), "last_layer").backward()
    check_first_gradients(wrapped)
    name, weight = next((n, w) for n, w in lora_parameters(wrapped).items() if "layers.1.self_attn.v_proj.lora_B" in n)
    assert weight.grad is not None
    weight.grad.zero_()
    with pytest.raises(ModelError, match=f"1 adapter matrices.*{name}"):
        check_first_gradients(wrapped)


def test_a_gradient_that_is_not_finite_stops_the_run(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = lambda *arguments: answer_loss(*arguments) * float("nan")  # noqa: E731
    monkeypatch.setattr(run, "answer_loss", broken)
    with pytest.raises(ModelError, match="no finite gradient at step 1"):
        train(lm, random_rows(5), CONFIG, tmp_path, on_progress=quiet)
