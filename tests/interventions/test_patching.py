"""Donor and recipient as rows of one batch: the same as two models in turns, as recomputing, and as a recording."""

import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import run as run_command
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_rows import random_rows
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from haymaker.attention.edits import Patch, Zero, edit
from haymaker.attention.recording import record
from haymaker.config import Extend, Recipe, TrainConfig
from haymaker.data.builder import build
from haymaker.errors import ExtensionError, ModelError
from haymaker.evaluation.predictions import Evaluation
from haymaker.heads.scores import HeadScores
from haymaker.interventions import lockstep
from haymaker.interventions.ablation import ablate, ablation_curve
from haymaker.interventions.adapters import one_model, rows_as
from haymaker.interventions.attribution import attribute
from haymaker.interventions.lockstep import OneBatch, TwoModels
from haymaker.interventions.pairs import kind_obstacle, obstacle
from haymaker.interventions.patching import patch, patch_many, patching_table
from haymaker.models.generation import Decoder
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.records import Example, Head, Message, Segment
from haymaker.study.stage_inputs import computed
from haymaker.training.loop import train

LAYERS, HEADS = 3, 4
SOME = (Head(0, 1), Head(1, 2), Head(2, 0))
EVERY = tuple(Head(layer, head) for layer in range(LAYERS) for head in range(HEADS))
PEFT_WARNS = "ignore:.*checkpointing.* is deprecated:FutureWarning"
pytestmark = pytest.mark.filterwarnings(PEFT_WARNS)

NewModel = Callable[..., PreTrainedModel]


@pytest.fixture
def adapted(new_model: NewModel, tokenizer: PreTrainedTokenizerBase) -> Callable[..., LanguageModel]:
    """A model with a random adapter: its base the same for all, with weights of its own."""

    def build(
        seed: int, projections: str = "qkvo", base: int = 0, kind: str = "llama", dtype: torch.dtype = torch.float32
    ) -> LanguageModel:
        model = add_lora(new_model(kind, seed=base).to(dtype).requires_grad_(False), rank=2, alpha=4.0, seed=seed)
        torch.manual_seed(seed)
        for name, weight in lora_parameters(model).items():
            if "lora_B" in name and any(f"{letter}_proj" in name for letter in projections):
                torch.nn.init.normal_(weight, std=0.5)
        return LanguageModel(model.requires_grad_(False).eval(), tokenizer, f"adapted {seed}")

    return build


@pytest.fixture
def donor(adapted: Callable[..., LanguageModel]) -> LanguageModel:
    return adapted(1)


@pytest.fixture
def recipient(adapted: Callable[..., LanguageModel]) -> LanguageModel:
    return adapted(2)


def examples(count: int = 3) -> list[Example]:
    texts = [f"[1] Kalo lives in Tami{'.' * i * 3}\nQuestion: Where?\nAnswer:" for i in range(count)]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "Where?", ("Tami",))
        for i, text in enumerate(texts)
    ]


def quiet(steps: int) -> None:
    """Instead of a progress bar."""


def texts(found: Evaluation) -> list[str]:
    return [prediction.text for prediction in found.predictions]


def scores(means: list[list[float]]) -> HeadScores:
    return HeadScores(np.array([means]), ("e",), "copy")


def prompts(count: int = 3) -> list[tuple[int, ...]]:
    """Prompts of several lengths, so that batches are padded."""
    return [row.prompt_ids for row in random_rows(count, longest=20)]


def stepped(model: Any, wanted: list[tuple[int, ...]], tokens: Tensor) -> Tensor:
    """Logits [step, row, token] of a batch that is fed `tokens` [step, row] after its prompts."""
    decoder = Decoder(model, wanted)
    return torch.stack([decoder.prefill(), *(decoder.step(row) for row in tokens)])


def state_of(model: torch.nn.Module) -> list[tuple[str, int, bool, bool]]:
    """What a block must leave alone: parameters, their training, and every module's hooks and mode."""
    weights = [(name, id(weight), weight.requires_grad, False) for name, weight in model.named_parameters()]
    hooks = [
        (name, len({**m._forward_pre_hooks, **m._forward_hooks}), m.training, True) for name, m in model.named_modules()
    ]
    return weights + hooks


@pytest.fixture
def step_tokens() -> Tensor:
    return torch.randint(10, 500, (4, 3), generator=torch.Generator().manual_seed(0))


# ---- one batch is two models


@pytest.mark.parametrize("scope", ["all", "prompt", "last", "decode", "last+decode"])
def test_one_batch_is_two_models_in_turns(
    donor: LanguageModel, recipient: LanguageModel, step_tokens: Tensor, scope: str
) -> None:
    turns = stepped(TwoModels(donor.model, recipient.model, SOME, scope), prompts(), step_tokens)
    plain = stepped(recipient.model, prompts(), step_tokens)
    with one_model(donor, recipient) as shared, closing(OneBatch(shared, [SOME], 3, scope)) as model:
        together = stepped(model, prompts(), step_tokens)
    torch.testing.assert_close(together, turns, atol=1e-4, rtol=1e-4)
    effect = (turns - plain).abs().amax((1, 2))
    assert effect[0].item() == 0 if scope == "decode" else effect[0] > 0.1
    assert effect[-1] > 0.01


def test_one_batch_is_recomputing_and_a_recording(
    donor: LanguageModel, recipient: LanguageModel, step_tokens: Tensor
) -> None:
    """With a cache in a padded batch; each row alone without one; and with the donor's outputs recorded beforehand."""
    with one_model(donor, recipient) as shared, closing(OneBatch(shared, [SOME], 3)) as model:
        cached = stepped(model, prompts(), step_tokens)
    for row, prompt in enumerate(prompts()):
        sequence = torch.tensor([[*prompt, *step_tokens[:, row].tolist()]])
        with one_model(donor, recipient) as shared, closing(OneBatch(shared, [SOME], 1)) as model:
            recomputed = model(input_ids=sequence).logits[0, -5:]
        with torch.no_grad(), record(donor.model, SOME) as outputs:
            donor.model(input_ids=sequence)
        with torch.no_grad(), edit(recipient.model, Patch(SOME, outputs)):
            patched = recipient.model(input_ids=sequence).logits[0, -5:]
        torch.testing.assert_close(cached[:, row], recomputed, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(cached[:, row], patched, atol=1e-4, rtol=1e-4)


def test_rows_go_through_their_adapters_as_peft_would_have_it(donor: LanguageModel, recipient: LanguageModel) -> None:
    ids = torch.randint(10, 500, (3, 12), generator=torch.Generator().manual_seed(0))
    with one_model(donor, recipient) as shared, torch.no_grad():
        names = shared.names(1, 2)
        with rows_as(names):
            ours = shared.model(input_ids=ids).logits
        assert torch.equal(ours, shared.model(input_ids=ids, adapter_names=list(names)).logits)
    expected = torch.cat([recipient.model(input_ids=ids[:1]).logits, donor.model(input_ids=ids[1:]).logits])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_a_donor_that_is_the_recipient_changes_nothing_at_all(
    recipient: LanguageModel,
    adapted: Callable[..., LanguageModel],
    step_tokens: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for twin in (recipient, adapted(2)):
        found = []
        for kind in (Patch, lambda heads, **_: Zero([])):  # as it is, and the same batch without its edits
            monkeypatch.setattr(lockstep, "Patch", kind)
            with one_model(twin, recipient) as shared, closing(OneBatch(shared, [EVERY], 3)) as model:
                found.append(stepped(model, prompts(), step_tokens))
        # Bit for bit with one thread; with more, matrix products round rows of a batch by where they stand in it.
        torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
    monkeypatch.undo()
    assert texts(patch(recipient, recipient, examples(), EVERY, 6)) == texts(ablate(recipient, examples(), [], 6))


def test_all_heads_of_a_donor_with_the_same_output_projections_make_the_donor(
    adapted: Callable[..., LanguageModel], step_tokens: Tensor
) -> None:
    donor, recipient = adapted(1, projections="qkv"), adapted(2, projections="qkv")
    alone = stepped(donor.model, prompts(), step_tokens)
    assert (stepped(recipient.model, prompts(), step_tokens) - alone).abs().max() > 0.1
    with one_model(donor, recipient) as shared, closing(OneBatch(shared, [EVERY], 3)) as model:
        torch.testing.assert_close(stepped(model, prompts(), step_tokens), alone, atol=1e-4, rtol=1e-4)
    with (
        one_model(donor, recipient) as shared,
        closing(OneBatch(shared, [EVERY], 1)) as model,
        record(shared.model, EVERY) as outputs,
    ):
        model(input_ids=torch.tensor([prompts()[0]]))
    assert torch.equal(outputs.values[0], outputs.values[1])  # what enters o_proj, in every layer


@pytest.mark.parametrize("lender", ["donor", "recipient", "both"])
def test_the_base_model_lends_and_borrows_too(
    lender: str, new_model: NewModel, recipient: LanguageModel, step_tokens: Tensor
) -> None:
    base = LanguageModel(new_model().requires_grad_(False), recipient.tokenizer, "base")
    pair = {"donor": (base, recipient), "recipient": (recipient, base), "both": (base, base)}[lender]
    expected = stepped(TwoModels(pair[0].model, pair[1].model, SOME), prompts(), step_tokens)
    with one_model(*pair) as shared, closing(OneBatch(shared, [SOME], 3)) as model:
        found = stepped(model, prompts(), step_tokens)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert patch(*pair, examples(), SOME, 3).mode == "one batch"


# ---- several sets in one batch


def test_many_sets_are_each_alone(donor: LanguageModel, recipient: LanguageModel) -> None:
    """The plain recipient, two patched ones and one patched at random part ways; each has a donor on its own tokens."""
    sets = {"none": (), "some": SOME, "all": EVERY, "random": (Head(0, 3), Head(1, 0), Head(2, 2))}
    together = patch_many(donor, recipient, examples(), sets, 8)
    for name, heads in sets.items():
        assert texts(together[name]) == texts(patch(donor, recipient, examples(), heads, 8, mode="two models")), name
    assert texts(together["none"]) == texts(ablate(recipient, examples(), [], 8))
    assert len({tuple(texts(found)) for found in together.values()}) == 4  # else the law says little
    for tokens in (1, 2 * 2 * 40):  # one set at a time; two of these prompts of some 30 tokens
        small = patch_many(donor, recipient, examples(), sets, 8, tokens_at_once=tokens)
        assert {name: texts(found) for name, found in small.items()} == {n: texts(f) for n, f in together.items()}
    assert patch_many(donor, recipient, examples(), {}, 8) == {}


def test_logits_of_many_sets_are_those_of_each(
    donor: LanguageModel, recipient: LanguageModel, step_tokens: Tensor
) -> None:
    sets = [SOME, (), EVERY]
    other = step_tokens.flip(0)
    tokens = torch.cat([step_tokens, step_tokens, other], dim=1)  # the last set's rows write other tokens
    with one_model(donor, recipient) as shared, closing(OneBatch(shared, sets, 3)) as model:
        found = stepped(model, prompts() * 3, tokens)
    models = [TwoModels(donor.model, recipient.model, heads) for heads in (SOME, EVERY)]
    each = [
        stepped(models[0], prompts(), step_tokens),
        stepped(recipient.model, prompts(), step_tokens),
        stepped(models[1], prompts(), other),
    ]
    torch.testing.assert_close(found, torch.cat(each, dim=1), atol=1e-4, rtol=1e-4)


def test_sliding_windows_part_too(adapted: Callable[..., LanguageModel], step_tokens: Tensor) -> None:
    """Prompts longer than the window of 16: the cache that the sets' donors share has slid."""
    donor, recipient = (adapted(seed, kind="mistral") for seed in (1, 2))
    tokens = torch.cat([step_tokens, step_tokens.flip(0)], dim=1)
    long = [row.prompt_ids for row in random_rows(3, longest=30)]
    with one_model(donor, recipient) as shared, closing(OneBatch(shared, [SOME, EVERY], 3)) as model:
        found = stepped(model, long * 2, tokens)
    each = [
        stepped(TwoModels(donor.model, recipient.model, heads), long, fed)
        for heads, fed in ((SOME, step_tokens), (EVERY, step_tokens.flip(0)))
    ]
    torch.testing.assert_close(found, torch.cat(each, dim=1), atol=1e-4, rtol=1e-4)


def test_progress_counts_every_example_of_every_set(donor: LanguageModel, recipient: LanguageModel) -> None:
    for mode in ("one batch", "two models"):
        counts: list[int] = []
        sets = {"none": (), "some": SOME}
        patch_many(donor, recipient, examples(), sets, 2, on_progress=counts.append, mode=mode)
        assert sum(counts) == 6


# ---- which way, and what it leaves behind


def test_the_result_says_which_way_was_taken(
    donor: LanguageModel, recipient: LanguageModel, new_model: NewModel, adapted: Callable[..., LanguageModel]
) -> None:
    assert patch(donor, recipient, examples(1), SOME, 2).row()["mode"] == "one batch"
    assert patch(donor, recipient, examples(1), SOME, 2, mode="two models").mode == "two models"
    other = adapted(1, base=3)
    assert patch(other, recipient, examples(1), SOME, 2).mode == "two models"
    with pytest.raises(ModelError, match="one batch: their base weights differ; use mode='two models'"):
        patch(other, recipient, examples(1), SOME, 2, mode="one batch")
    with pytest.raises(ModelError, match="expected 'one batch', 'two models' or None"):
        patch(donor, recipient, examples(1), SOME, 2, mode="both")


def test_what_keeps_two_models_apart_is_named(
    donor: LanguageModel, recipient: LanguageModel, new_model: NewModel, adapted: Callable[..., LanguageModel]
) -> None:
    assert obstacle(donor, recipient) is None
    changed = adapted(1)
    with torch.no_grad():
        changed.base.lm_head.weight[7, 3] += 1e-3  # a single number
    assert "weights differ" in str(obstacle(changed, recipient))
    changed = adapted(1)
    changed.base.config.rms_norm_eps = 1e-3
    assert "configs" in str(obstacle(changed, recipient))
    with edit(recipient.model, Zero(SOME)):
        assert "the recipient is inside a probe or edit block" in str(obstacle(donor, recipient))
    merged = adapted(1)
    merged.model.merge_adapter()
    assert "merged" in str(obstacle(merged, recipient))
    wide = new_model().requires_grad_(False)
    config = LoraConfig(r=2, target_modules=["q_proj", "up_proj"])
    more = LanguageModel(get_peft_model(wide, config).eval(), donor.tokenizer, "more")
    assert "adapts 3 modules" in str(obstacle(more, recipient))
    unlike = LanguageModel(get_peft_model(new_model(), LoraConfig(r=2, use_dora=True)).eval(), donor.tokenizer, "dora")
    assert "use_dora" in str(obstacle(unlike, recipient))


PLAIN = {
    "use_rslora": True,
    "rank_pattern": {"q_proj": 4},
    "layers_to_transform": [1],
    "lora_bias": True,
    "lora_dropout": 0.1,
}
VARIANTS = ("use_dora", "velora_config", "monteclora_config", "use_qalora", "use_bdlora", "arrow_config", "kasa_config")
MORE = (
    "layer_replication",
    "modules_to_save",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "target_parameters",
)


@pytest.mark.parametrize("name", [*PLAIN, *VARIANTS, *MORE])
def test_rows_apart_are_for_plain_lora_alone(name: str) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"])
    assert hasattr(config, name)
    setattr(config, name, PLAIN.get(name, True))
    assert (kind_obstacle(config) is None) == (name in PLAIN)
    if name not in PLAIN:
        assert name in str(kind_obstacle(config))


@pytest.mark.parametrize("fails", [False, True])
def test_both_models_are_as_they_were(donor: LanguageModel, recipient: LanguageModel, fails: bool) -> None:
    ids = torch.tensor([prompts()[0]])
    before = [(state_of(lm.model), lm.model(input_ids=ids).logits) for lm in (donor, recipient)]
    with ExitStack() as expected:
        if fails:  # inside the model's forward, in the second step: the token is not one
            expected.enter_context(pytest.raises(IndexError))
        with one_model(donor, recipient) as shared, closing(OneBatch(shared, [SOME], 1)) as model:
            decoder = Decoder(model, [prompts()[0]])
            decoder.prefill()
            decoder.step(torch.tensor([10**6 if fails else 5]))
    assert isinstance(recipient.model, PeftModel)
    assert list(recipient.model.peft_config) == ["default"] == recipient.model.active_adapters
    assert recipient.base.config._attn_implementation == "sdpa"
    for lm, (state, logits) in zip((donor, recipient), before, strict=True):
        assert state_of(lm.model) == state
        assert torch.equal(lm.model(input_ids=ids).logits, logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_of_the_donor_is_copied_or_rounded(adapted: Callable[..., LanguageModel], dtype: torch.dtype) -> None:
    donor, recipient = adapted(1, dtype=dtype), adapted(2, dtype=dtype)
    own = {weight.data_ptr() for weight in lora_parameters(donor.model).values()}
    ids = torch.tensor([prompts()[0]])
    with one_model(donor, recipient) as shared:
        lent = [weight for name, weight in lora_parameters(shared.model).items() if f".{shared.donor}." in name]
        assert {weight.dtype for weight in lent} == {torch.float32}
        assert {weight.data_ptr() for weight in lent} == own
        assert not any(weight.requires_grad for weight in lent)
        with rows_as(shared.names(0, 1)):
            speaking = shared.model(input_ids=ids).logits
    # In half precision PEFT rounds an adapter's part of a projection once more in a mixed batch than outside it.
    tolerance = 0.0 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(speaking, donor.model(input_ids=ids).logits, atol=tolerance, rtol=tolerance)


# ---- a donor from its folder


@pytest.fixture
def folder(tmp_path: Path, new_model: NewModel, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A trained adapter."""
    lm = LanguageModel(new_model().requires_grad_(False), tokenizer, "tiny")
    config = TrainConfig(steps=2, batch=2, rate=0.05, rank=2, alpha=4.0)
    train(lm, random_rows(4, longest=20), config, tmp_path / "adapter", on_progress=quiet)
    return tmp_path / "adapter"


@pytest.mark.parametrize("with_own", [True, False])
def test_a_folder_lends_its_adapter_to_one_base_model(
    folder: Path, recipient: LanguageModel, new_model: NewModel, with_own: bool
) -> None:
    plain = LanguageModel(new_model().requires_grad_(False), recipient.tokenizer, "tiny")
    donor = replace(plain, model=PeftModel.from_pretrained(new_model(), folder).requires_grad_(False).eval())
    to = recipient if with_own else plain
    before = state_of(to.model)
    found = patch(folder, to, examples(), EVERY, 6)
    assert found.mode == "one batch"
    assert texts(found) == texts(patch(donor, to, examples(), EVERY, 6, mode="two models"))
    assert texts(found) != texts(ablate(to, examples(), [], 6))
    assert state_of(to.model) == before


def test_a_folder_that_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, recipient: LanguageModel, adapted: Callable[..., LanguageModel]
) -> None:
    with pytest.raises(ModelError, match="trained on other weights"):
        patch(folder, adapted(2, base=5), examples(1), SOME, 2)
    with pytest.raises(ModelError, match="load the adapter with load_model"):
        patch(folder, recipient, examples(1), SOME, 2, mode="two models")
    with pytest.raises(ModelError, match="inside a probe or edit block"), edit(recipient.model, Zero(SOME)):
        patch(folder, recipient, examples(1), SOME, 2)
    (folder / "base.json").unlink()
    with pytest.raises(ExtensionError, match="no base.json"):
        patch(str(folder), recipient, examples(1), SOME, 2)
    assert list(recipient.model.peft_config) == ["default"]


# ---- tables


def test_both_directions_and_the_identity_as_rows(donor: LanguageModel, recipient: LanguageModel) -> None:
    one = scores([[0.9, 0.8, 0.0, 0.0], [0.0, 0.7, 0.0, 0.0], [0.0, 0.0, 0.0, 0.1]])
    two = scores([[0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.6, 0.0], [0.0, 0.0, 0.0, 0.0]])
    options: dict[str, Any] = {"k": 2, "draws": 1, "new_tokens": 3}
    into = patching_table(donor, recipient, examples(2), one, two, **options)
    back = patching_table(recipient, donor, examples(2), two, one, **options)
    # Active in both: 0-0. In the first alone: 0-1, 1-1, 2-3; in the second alone: 1-2. So one head each, and then two
    # of the first's own.
    assert [(row["heads"], row["k"]) for row in into] == [
        ("none", 0), ("intersection", 1), ("complement", 1), ("random", 1), ("complement", 2), ("random", 2),
    ]  # fmt: skip
    assert [row["head_list"] for row in (*into[1:3], into[4])] == ["0-0", "0-1", "0-1 1-1"]
    assert [row["head_list"] for row in back[1:3]] == ["0-0", "1-2"]
    assert all((row["beyond_random"] is None) == (row["heads"] in ("none", "random")) for row in into)
    assert into[0]["delta"] == 0.0
    assert {row["mode"] for row in into} == {"one batch"}
    same = patching_table(donor, donor, examples(2), one, one, identity=True, new_tokens=3)
    assert [(row["heads"], row["k"], row["delta"]) for row in same] == [("none", 0, 0.0), ("identity", 12, 0.0)]


def test_the_commands_write_what_the_library_says(tmp_path: Path, model_folder: Path) -> None:
    """Two trained adapters, their scores from a causal estimate, then both directions over one base model."""
    model, data = str(model_folder), str(tmp_path / "data")
    lm = load_model(model, extend=Extend(length=128))
    dataset = build(Recipe(task="mdqa", setting="low-low", length=96, rows=2, seed=1), lm.tokenizer)
    dataset.save(data)
    for name, seed in (("one", 1), ("two", 2)):
        config = TrainConfig(steps=1, batch=2, rate=0.05, rank=2, alpha=4.0, seed=seed)
        train(
            load_model(model, extend=Extend(length=128)),
            dataset,
            config,
            tmp_path / name,
            on_progress=quiet,
        )
        arguments = ["--adapter", str(tmp_path / name), "--out", str(tmp_path / f"{name}.safetensors")]
        result = run_command("attribute", "--model", model, "--data", data, *arguments)
        assert result.exit_code == 0, result.output
    one, two = (load_model(model, adapter=tmp_path / name) for name in ("one", "two"))
    maps = [HeadScores.load(tmp_path / f"{name}.safetensors") for name in ("one", "two")]
    np.testing.assert_allclose(maps[0].values, attribute(one, dataset).values, rtol=1e-4, atol=1e-5)

    arguments = ["--model", model, "--data", data, "--heads", str(tmp_path / "two.safetensors"), "--new-tokens", "3"]
    more = ["--adapter", str(tmp_path / "two"), "--k", "2", "--draws", "1", "--scope", "decode", "--json"]
    result = run_command("ablate", *arguments, *more, "--out", str(tmp_path / "ablated"))
    assert result.exit_code == 0, result.output
    about = computed(two)  # the commands say on which device, in which precision
    expected = [row | about for row in ablation_curve(two, dataset, maps[1], [2], 1, new_tokens=3, scope="decode")]
    assert (
        json.loads(result.stdout)["ablation"]
        == expected
        == read_rows(tmp_path / "ablated" / "tables" / "ablation.json")
    )

    pair = ["--donor", str(tmp_path / "one"), "--recipient", str(tmp_path / "two"), "--both"]
    more = ["--donor-heads", str(tmp_path / "one.safetensors"), "--k", "2", "--draws", "1", *pair]
    result = run_command("patch", *arguments, *more, "--out", str(tmp_path / "patched"))
    assert result.exit_code == 0, result.output
    options: dict[str, Any] = {"k": 2, "draws": 1, "new_tokens": 3}
    into = patching_table(one, two, dataset, *maps, **options)
    back = patching_table(two, one, dataset, maps[1], maps[0], **options)
    rows = read_rows(tmp_path / "patched" / "tables" / "patching.json")
    assert [row | about | {"donor": "one", "recipient": "two"} for row in into] == rows[: len(into)]
    assert [row | about | {"donor": "two", "recipient": "one"} for row in back] == rows[len(into) :]
    assert all(row["heads"] in result.stdout for row in rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())
