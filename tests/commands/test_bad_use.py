"""Bad use of interventions raises a typed error that says what to do, skips nothing, and leaves models as they were.

What single edits, probes and recordings refuse is tested where they are; here stand the functions over examples.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import torch
from tiny_models import tiny_model
from tiny_rows import random_rows
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from haymaker.attention.edits import Knockout, Patch, Zero, edit
from haymaker.attention.recording import record
from haymaker.errors import ConfigError, ModelError, OutOfMemory, ProbeError
from haymaker.evaluation.predictions import evaluate
from haymaker.heads.detection import detect_heads
from haymaker.heads.scores import HeadScores
from haymaker.interventions.ablation import ablate, ablation_curve
from haymaker.interventions.adapters import one_model
from haymaker.interventions.attribution import attribute
from haymaker.interventions.head_sets import patching_sets
from haymaker.interventions.lockstep import OneBatch, TwoModels
from haymaker.interventions.patching import patch, patch_many
from haymaker.models.generation import Decoder
from haymaker.models.load import LanguageModel
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.models.memory import memory_of
from haymaker.records import Example, Head, Label, Message, Segment, Span

SOME = (Head(0, 1), Head(1, 2))
CPU = "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
GPU = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"
RAN_OUT = [MemoryError(), RuntimeError(CPU), torch.OutOfMemoryError(GPU), RuntimeError("MPS backend out of memory")]

pytestmark = pytest.mark.filterwarnings("ignore:.*checkpointing.* is deprecated:FutureWarning")


@pytest.fixture
def adapted(new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> Callable:
    """Models with random adapters over equal bases."""

    def build(seed: int) -> LanguageModel:
        model = add_lora(new_model().requires_grad_(False), rank=2, alpha=4.0, seed=seed)
        torch.manual_seed(seed)
        for name, weight in lora_parameters(model).items():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
        return LanguageModel(model.requires_grad_(False).eval(), tokenizer, f"adapted {seed}")

    return build


@pytest.fixture
def pair(adapted: Callable[[int], LanguageModel]) -> tuple[LanguageModel, LanguageModel]:
    return adapted(1), adapted(2)


def examples(count: int = 2) -> list[Example]:
    texts = [f"[1] Kalo lives in Tami{'.' * i}\nQuestion: Where?\nAnswer:" for i in range(count)]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "Where?", ("Tami",))
        for i, text in enumerate(texts)
    ]


def is_as_it_was(lm: LanguageModel) -> bool:
    """No hook, no name of ours in the config, no second adapter."""
    hooks = any(module._forward_pre_hooks or module._forward_hooks for module in lm.model.modules())
    adapters = getattr(lm.model, "peft_config", {"default": None})
    return not hooks and lm.base.config._attn_implementation == "sdpa" and list(adapters) == ["default"]


# ---- heads, rows, layers


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([(7, 0)], r"layers with attention, \[0, 1, 2\]; found 7-0"),
        ([(1, 4)], "query heads 0 to 3 in layer 1, found 1-4"),
        (["1.4"], "expected a head like"),
        ([(-1, 0)], "counted from 0"),
    ],
)
def test_unknown_heads(pair: tuple[LanguageModel, LanguageModel], heads: list, message: str) -> None:
    uses: list[Callable[[], Any]] = [
        lambda: ablate(pair[0], examples(), heads, 2),
        lambda: patch(*pair, examples(), heads, 2),
        lambda: patch(*pair, examples(), heads, 2, mode="two models"),
        lambda: patch_many(*pair, examples(), {"none": (), "wrong": heads}, 2),
    ]
    for use in uses:
        with pytest.raises(ProbeError, match=message):
            use()
    assert all(map(is_as_it_was, pair))


def test_rows_outside_the_sequence(lm: LanguageModel) -> None:
    ids = torch.tensor([random_rows(1)[0].prompt_ids])
    beyond = ids.shape[1]
    never = rf"\[{beyond}\] were never reached"
    with pytest.raises(ProbeError, match=never), edit(lm.model, Zero(SOME), scope=[beyond]):
        lm.model(input_ids=ids)
    with record(lm.model, SOME, rows=[0, beyond]) as outputs:
        lm.model(input_ids=ids)
    with pytest.raises(ProbeError, match=never):
        _ = outputs.values
    with (
        pytest.raises(ProbeError, match="has no output at positions"),
        edit(lm.model, Patch(SOME, {head: torch.zeros(beyond - 1, 8) for head in SOME})),
    ):
        lm.model(input_ids=ids)
    with pytest.raises(ProbeError, match=r"expected a scope of .* found \['answer'\]"):
        ablate(lm, examples(), SOME, 2, scope="answer")
    assert is_as_it_was(lm)


def test_a_layer_whose_attention_is_never_called(tokenizer: PreTrainedTokenizerBase) -> None:
    lm = LanguageModel(tiny_model("qwen3_next").requires_grad_(False), tokenizer, "hybrid")
    for use in (lambda: ablate(lm, examples(), ["0-1"], 2), lambda: patch(lm, lm, examples(), ["0-1"], 2)):
        with pytest.raises(ProbeError, match=r"layers with attention, \[1, 2\]; found 0-1"):
            use()


# ---- donors


@pytest.mark.parametrize(
    "changed", [{"num_hidden_layers": 2}, {"num_attention_heads": 8}, {"head_dim": 16}, {"vocab_size": 1700}]
)
def test_donors_of_another_shape(lm: LanguageModel, changed: dict[str, int]) -> None:
    config = LlamaConfig(**{**lm.base.config.to_dict(), **changed})
    donor = LanguageModel(LlamaForCausalLM(config).eval().requires_grad_(False), lm.tokenizer, "other")
    for use in (lambda: patch(donor, lm, examples(), SOME, 2), lambda: attribute(lm, examples(), donor)):
        with pytest.raises(ModelError, match=r"one shape \(layers, heads, width of a head, vocabulary\)"):
            use()


def test_donors_that_read_other_tokens(pair: tuple[LanguageModel, LanguageModel], tmp_path: Any) -> None:
    pair[0].tokenizer.save_pretrained(tmp_path)
    other = type(pair[0].tokenizer).from_pretrained(tmp_path)
    assert patch(LanguageModel(pair[0].model, other, "same"), pair[1], examples(1), SOME, 2).mode == "one batch"
    other.add_tokens(["Kalo lives"])
    with pytest.raises(ModelError, match="the tokenizers of new and adapted 2 differ"):
        patch(LanguageModel(pair[0].model, other, "new"), pair[1], examples(1), SOME, 2)


def test_donor_rows_of_a_batch(lm: LanguageModel) -> None:
    ids = torch.tensor([random_rows(1)[0].prompt_ids] * 3)
    for make, message in [
        (lambda: Patch(SOME, donor=[0, 3], batch_rows=[1, 2]), "donor row of a batch of 3, found 3"),
        (lambda: Patch(SOME, donor=[-1], batch_rows=[1]), "found -1"),
        (lambda: Patch(SOME, donor=[0], batch_rows=[1, 2]), "one donor row for each of batch_rows, found 1"),
        (lambda: Patch(SOME, donor=[0]), "one donor row for each of batch_rows, found 1"),
    ]:
        with pytest.raises(ProbeError, match=message), edit(lm.model, make()):
            lm.model(input_ids=ids)


def test_kinds_of_sets_that_there_are_not() -> None:
    scores = HeadScores(torch.eye(3).numpy()[None], ("e",), "copy")
    with pytest.raises(ConfigError, match="expected intersection, complement, union, found shared"):
        list(patching_sets(scores, scores, 2, 0.0, 1, kinds=["shared"]))


# ---- blocks


def test_nested_edits_that_would_write_the_same(pair: tuple[LanguageModel, LanguageModel]) -> None:
    donor, recipient = pair
    uses: list[Callable[[], Any]] = [
        lambda: ablate(recipient, examples(), SOME, 2),
        lambda: ablate(recipient, examples(), SOME, 2, scope="decode"),
        lambda: patch(donor, recipient, examples(), SOME, 2),
    ]
    for use in uses:
        with pytest.raises(ProbeError, match="would write the same positions"), edit(recipient.model, Zero(["1-2"])):
            use()
    with edit(recipient.model, Knockout(["2-2"], Span(0, 2))):  # another head: they compose, as two models
        assert patch(donor, recipient, examples(), SOME, 2).mode == "two models"
    assert all(map(is_as_it_was, pair))


def test_closed_blocks_do_nothing(pair: tuple[LanguageModel, LanguageModel]) -> None:
    donor, recipient = pair
    ids = torch.tensor([random_rows(1)[0].prompt_ids])
    plain = recipient.model(input_ids=ids).logits
    with edit(recipient.model, Zero(SOME)) as editing:
        pass
    assert torch.equal(recipient.model(input_ids=ids).logits, plain)
    assert editing.writes == 0
    with record(recipient.model, SOME) as outputs:
        pass
    recipient.model(input_ids=ids)
    with pytest.raises(ProbeError, match="inside the block, in its thread; found none"):
        _ = outputs.values
    with one_model(donor, recipient) as shared:
        model = OneBatch(shared, [SOME], 1)
        patched = model(input_ids=ids).logits
        model.close()
    assert not torch.equal(patched, plain)
    with pytest.raises(ModelError, match="ended"):
        model(input_ids=ids)
    assert all(map(is_as_it_was, pair))


# ---- modes and memory


def test_models_in_train_mode(pair: tuple[LanguageModel, LanguageModel]) -> None:
    donor, recipient = pair
    scores = HeadScores(torch.rand(1, 3, 4).numpy(), ("e",), "copy")
    donor.model.train()
    uses: list[Callable[[], Any]] = [
        lambda: ablate(donor, examples(), SOME, 2),
        lambda: ablation_curve(donor, examples(), scores, [1], 1),
        lambda: attribute(donor, examples()),
        lambda: patch(donor, recipient, examples(), SOME, 2),
        lambda: patch(recipient, donor, examples(), SOME, 2, mode="two models"),
        lambda: patch("nowhere", donor, examples(), SOME, 2),
        lambda: detect_heads(donor, examples()),
        lambda: evaluate(donor, examples()),
    ]
    for use in uses:
        with pytest.raises(ModelError, match=r"adapted 1: expected a model in eval mode.*call lm.model.eval\(\)"):
            use()
    donor.model.eval()
    part = next(module for name, module in donor.model.named_modules() if name.endswith("layers.1.self_attn")).train()
    evaluate(donor, examples())  # nothing in it drops
    part.attention_dropout = 0.1
    with pytest.raises(ModelError, match="expected a model in eval mode"):
        evaluate(donor, examples())


@pytest.mark.parametrize("error", RAN_OUT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("calls", [0, 1])
def test_memory_that_runs_out_names_the_example_and_skips_none(
    pair: tuple[LanguageModel, LanguageModel], monkeypatch: pytest.MonkeyPatch, error: Exception, calls: int
) -> None:
    """In the first forward or the second, in every function that reads examples."""
    donor, recipient = pair
    left = 0

    def fail(*_: Any, **__: Any) -> Tensor:
        nonlocal left
        left -= 1
        if left < 0:
            raise error
        return real(*_, **__)

    uses: list[tuple[Callable[[], Any], str]] = [
        (lambda: ablate(recipient, examples(1), SOME, 3), "e0 .*lower tokens_at_once"),
        (lambda: patch(donor, recipient, examples(1), SOME, 3), "e0 .*use fewer head sets at once"),
        (lambda: patch(donor, recipient, examples(1), SOME, 3, mode="two models"), "e0 .*lower tokens_at_once"),
        (lambda: attribute(recipient, examples(1)), r"e0 .*use scope='last\+decode'"),
    ]
    ablate(recipient, examples(1), SOME, 3)  # past the canary
    ablate(donor, examples(1), SOME, 3)
    module = recipient.base.model.layers[2].mlp
    real = module.forward
    monkeypatch.setattr(module, "forward", fail)
    for use, message in uses:
        left = calls
        with pytest.raises(OutOfMemory, match=message):
            use()
        assert left < 0
    monkeypatch.undo()
    assert all(map(is_as_it_was, pair))


def test_other_errors_stay_what_they_are() -> None:
    for error in (RuntimeError("shapes do not match"), ValueError("out of memory"), KeyboardInterrupt()):
        with pytest.raises(type(error)), memory_of(["a"], "wait"):
            raise error
    names = [f"row {number}" for number in range(8)]
    with pytest.raises(OutOfMemory, match=r"row 0, .*row 4 and 3 more \(MemoryError\); wait"), memory_of(names, "wait"):
        raise MemoryError


# ---- threads


def test_threads_do_not_mix_adapters(pair: tuple[LanguageModel, LanguageModel]) -> None:
    """One patches in one batch while others run the same recipient plain and ablated, step by step."""
    donor, recipient = pair
    prompt, steps = [random_rows(1)[0].prompt_ids], torch.randint(10, 500, (4, 1))

    def stepped(model: Any) -> Tensor:
        decoder = Decoder(model, prompt)
        return torch.stack([decoder.prefill(), *(decoder.step(row) for row in steps)])

    def ablated() -> Tensor:
        with edit(recipient.model, Zero(SOME)):
            return stepped(recipient.model)

    with one_model(donor, recipient) as shared:

        def patched() -> Tensor:
            with closing(OneBatch(shared, [SOME], 1)) as model:
                return stepped(model)

        runs = [patched, ablated, lambda: stepped(recipient.model), patched]
        expected = [run() for run in runs]
        together = threading.Barrier(len(runs))
        wrong: list[Any] = []

        def work(index: int) -> None:
            for _ in range(4):
                together.wait(timeout=60)
                try:
                    same = torch.equal(runs[index](), expected[index])
                except Exception as error:  # as a row's adapters in a batch of another size
                    same = False
                    wrong.append(error)
                if not same:
                    wrong.append(index)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(runs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert not torch.equal(expected[0], expected[2])
    turns = stepped(TwoModels(donor.model, recipient.model, SOME))
    torch.testing.assert_close(expected[0], turns, atol=1e-4, rtol=1e-4)
    assert all(map(is_as_it_was, pair))


def test_memory_that_runs_out_while_heads_are_read(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError(GPU)

    monkeypatch.setattr("haymaker.heads.detection.read_gold", fail)
    segment = Segment("Kalo lives in Tami", (Label("evidence"),))
    example = Example("e0", "mdqa", (Message("user", (segment, Segment("\nWhere?"))),), "Where?", ("Tami",))
    with pytest.raises(OutOfMemory, match="e0 .*lower batch"):
        detect_heads(lm, [example])
