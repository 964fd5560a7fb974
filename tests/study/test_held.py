"""One base model is kept, with adapters swapped on it: the bits of a model that was loaded for the cell."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_rows import random_rows

from haymaker.config import Extend, TrainConfig
from haymaker.errors import ConfigError, ModelError
from haymaker.models.handshake import probe_logits, weights_digest
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.lora import quiet_peft
from haymaker.study import held, stages
from haymaker.study.bases import Base
from haymaker.study.held import model_to_train, model_with
from haymaker.study.stage_inputs import goes_on, model_of
from haymaker.training.loop import train

EXTEND = Extend(length=128)


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is loaded from disk, beginning with nothing kept."""
    found: list[Any] = []

    def load(*words: Any, **options: Any) -> LanguageModel:
        found.append((words, options))
        return load_model(*words, **options)

    monkeypatch.setattr(held, "load_model", load)
    held.forget()
    yield found
    held.forget()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, new_model: Any, tokenizer: Any) -> Path:
    """Tiny models, and adapters on the first of them, each trained on a model that was loaded for it."""
    home = tmp_path_factory.mktemp("held")
    for kind in ("llama", "mistral"):
        new_model(kind).save_pretrained(home / kind)
        tokenizer.save_pretrained(home / kind)
        for seed in (1, 2):
            train_on(load_model(home / kind, extend=EXTEND), home / f"{kind}-{seed}", seed)
    return home


def train_on(lm: LanguageModel, out: Path, seed: int) -> None:
    config = TrainConfig(steps=2, batch=2, rate=0.01, seed=seed)
    train(lm, random_rows(4, seed=seed), config, out, on_progress=lambda steps: None)


def base(made: Path, kind: str = "llama", **options: Any) -> Base:
    return Base(str(made / kind), options.get("extend", EXTEND), options.get("dtype", "auto"))


def said(lm: LanguageModel) -> list[Any]:
    """All that a stage can read of a model: its logits, its context and what stands in it."""
    names = [(name, weight.dtype, weight.requires_grad) for name, weight in lm.model.named_parameters()]
    logits = probe_logits(lm.model, lm.context)
    return [logits.tolist(), weights_digest(lm.model), lm.context, names, lm.adapter, lm.unverified, lm.extend]


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_a_swapped_adapter_gives_the_bits_of_a_fresh_load(kind: str, made: Path, loads: list[Any]) -> None:
    first, second = made / f"{kind}-1", made / f"{kind}-2"
    for adapter in (first, second, None, second, first, first):
        assert said(model_with(base(made, kind), adapter)) == said(
            load_model(made / kind, adapter=adapter, extend=EXTEND)
        )
    assert len(loads) == 1
    assert said(model_with(base(made, kind), first))[0] != said(model_with(base(made, kind), second))[0]


def test_training_on_the_kept_base_gives_the_same_files_and_leaves_the_same_base(
    made: Path, tmp_path: Path, loads: list[Any]
) -> None:
    model_with(base(made), made / "llama-1")
    for seed in (2, 1):
        with model_to_train(base(made)) as lm:
            train_on(lm, tmp_path / str(seed), seed)
        for name in ("adapter_model.safetensors", "adapter_config.json", "base.json"):
            assert (tmp_path / str(seed) / name).read_bytes() == (made / f"llama-{seed}" / name).read_bytes()
    fresh = load_model(made / "llama", adapter=tmp_path / "1", extend=EXTEND)
    assert said(model_with(base(made), tmp_path / "1")) == said(fresh)
    assert len(loads) == 1


def test_what_fails_in_training_or_reading_keeps_no_model(made: Path, loads: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), model_to_train(base(made)):
        raise ZeroDivisionError
    assert held._kept is None

    def broken(params: Any, inputs: Any, output: Path, keep: Path) -> Any:
        model_of(inputs, params)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        goes_on(broken)(stages.EvaluateParams(), {"model": made / "llama"}, tmp_path)
    assert held._kept is None


@pytest.mark.parametrize("other", [{"extend": None}, {"extend": Extend(length=192)}, {"dtype": "bfloat16"}])
def test_another_extension_or_precision_is_another_base(other: dict[str, Any], made: Path, loads: list[Any]) -> None:
    model_with(base(made))
    found = model_with(base(made, **other))
    wanted = load_model(made / "llama", extend=other.get("extend", EXTEND), dtype=other.get("dtype", "auto"))
    assert said(found) == said(wanted)
    assert len(loads) == 2


def test_other_files_under_the_same_name_are_read_anew(model_folder: Path, new_model: Any, loads: list[Any]) -> None:
    one = Base(str(model_folder), None, "auto")
    before = said(model_with(one))
    about = (model_folder / "model.safetensors").stat()
    new_model(seed=5).save_pretrained(model_folder)
    os.utime(model_folder / "model.safetensors", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert said(model_with(one)) != before
    assert len(loads) == 2


def test_an_adapter_of_another_base_is_refused_as_by_a_load(
    made: Path, tmp_path: Path, new_model: Any, tokenizer: Any
) -> None:
    new_model(seed=5).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    other = Base(str(tmp_path), EXTEND, "auto")
    model_with(other)
    with pytest.raises(ModelError, match="was trained on other weights than these"):
        model_with(other, made / "llama-1")
    assert held._kept is None


@pytest.mark.parametrize("kind", ["missing", "empty", "a link to itself"])
def test_a_folder_without_an_adapter_is_not_the_base_alone(kind: str, made: Path, tmp_path: Path) -> None:
    place = tmp_path / "adapter"
    if kind == "empty":
        place.mkdir()
    elif kind == "a link to itself":
        place.symlink_to(place)
    model_with(base(made))  # so that a base without an adapter is kept
    with pytest.raises((ConfigError, ModelError)):
        model_with(base(made), place)


def test_an_adapter_that_leaves_something_behind_costs_a_load(
    made: Path, tmp_path: Path, new_model: Callable[..., Any], loads: list[Any]
) -> None:
    config = LoraConfig(target_modules=["q_proj"], use_dora=True, task_type="CAUSAL_LM")
    with quiet_peft():
        get_peft_model(new_model(), config).save_pretrained(tmp_path)
    plain = base(made, extend=None)
    for adapter in (tmp_path, tmp_path, None):
        model_with(plain, adapter)
    assert len(loads) == 2
    assert said(model_with(plain)) == said(load_model(made / "llama"))


def test_memory_does_not_grow_with_swaps(made: Path) -> None:
    def held_now() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.nn.Module | torch.Tensor) for thing in gc.get_objects())

    counts = []
    for _ in range(4):
        for seed in (1, 2):
            model_with(base(made), made / f"llama-{seed}")
        counts.append(held_now())
    assert counts[1:] == counts[1:2] * 3


def test_a_base_is_told_by_what_is_loaded_with_it(made: Path) -> None:
    params, model = stages.EvaluateParams(), made / "llama"
    own = Base.of({"model": model, "adapter": made / "llama-1"}, params)
    assert own == Base.of({"model": model, "recipient": made / "llama-2", "donor": made / "llama-1"}, params)
    assert own == Base.of({"model": model}, stages.TrainParams(extend=EXTEND, train=TrainConfig(steps=1)))
    assert own != Base.of({"model": model}, params)
    assert Base.of({"data": made}, params) is None
    assert Base.of({"model": model, "adapter": made / "none"}, params) == Base.of({"model": model}, params)
