"""Laws: a model that one thread changes is refused to all others, and no two threads make modules at once."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny_models import logits
from tiny_rows import random_rows
from transformers import AutoModelForCausalLM

import haymaker as hm
from haymaker.errors import ModelError
from haymaker.models import lora
from haymaker.models.load import LanguageModel
from haymaker.training.loop import train

CONFIG = hm.TrainConfig(steps=2, batch=2, rank=2, rate=0.1)
ROWS = [hm.example("Ann keeps a red hat.", "red", "What colour?", "red")]
HEADS = [(0, 1), (2, 3)]
IDS = torch.arange(7, 20)[None]

WAYS: dict[str, Callable[[LanguageModel, Path], Any]] = {
    "forward": lambda lm, _: logits(lm.base, IDS),
    "layers alone": lambda lm, _: lm.base.get_decoder()(input_ids=IDS),
    "answers": lambda lm, _: hm.evaluate(lm, ROWS, new_tokens=3, stop=None),
    "heads": lambda lm, _: hm.detect_heads(lm, ROWS),
    "causal map": lambda lm, _: hm.causal_map(lm, ROWS, scope="prompt"),
    "attribute": lambda lm, _: hm.attribute(lm, ROWS),
    "train": lambda lm, folder: train(lm, random_rows(4), CONFIG, folder / "second"),
    "patch": lambda lm, folder: hm.patch(str(folder / "donor"), lm, ROWS, HEADS, new_tokens=3, stop=None),
}


def elsewhere(*calls: Callable[[], Any]) -> list[Any]:
    """What calls in threads of their own return or raise."""
    found: list[Any] = [None] * len(calls)

    def run(place: int) -> None:
        try:
            found[place] = calls[place]()
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture
def folder(tmp_path: Path, new_model: Any, lm: LanguageModel) -> Path:
    """A folder with an adapter of the model `lm`, in `donor`."""
    train(
        LanguageModel(new_model(), lm.tokenizer, "tiny"), random_rows(4), CONFIG, tmp_path / "donor", on_progress=no_bar
    )
    return tmp_path


def no_bar(_: int) -> None:
    """Instead of a progress bar."""


def refused(lm: LanguageModel, folder: Path, doing: str) -> None:
    for name, error in zip(WAYS, elsewhere(*(lambda way=way: way(lm, folder) for way in WAYS.values())), strict=True):
        assert isinstance(error, ModelError), (name, error)
        assert doing in str(error), name


def test_a_model_in_training_is_refused_to_other_threads(lm: LanguageModel, folder: Path) -> None:
    train(lm, random_rows(4), CONFIG, folder / "out", on_progress=lambda _: refused(lm, folder, "training it"))
    [there] = elsewhere(lambda: logits(lm.model, IDS))
    assert torch.equal(there, logits(lm.model, IDS))
    assert not (folder / "second").exists()


def test_a_base_that_an_adapter_is_lent_to_is_refused_to_other_threads(lm: LanguageModel, folder: Path) -> None:
    plain = logits(lm.base, IDS)
    hm.patch(
        str(folder / "donor"), lm, ROWS, HEADS, new_tokens=3, stop=None,
        on_progress=lambda _: refused(lm, folder, "patching it"),
    )  # fmt: skip
    [there] = elsewhere(lambda: logits(lm.base, IDS))
    assert torch.equal(there, plain)


def test_threads_that_lend_to_one_model_in_the_midst_of_each_other_do_not_mix(
    lm: LanguageModel, folder: Path, new_model: Any
) -> None:
    for seed, name in ((1, "other"), (2, "own")):
        base = LanguageModel(new_model(), lm.tokenizer, "tiny")
        train(base, random_rows(4, seed=seed), CONFIG, folder / name, on_progress=no_bar)
    recipient = base

    def patched(name: str) -> list[str]:
        found = hm.patch(str(folder / name), recipient, ROWS, HEADS, new_tokens=6, stop=None)
        return [prediction.text for prediction in found.predictions]

    def own() -> torch.Tensor:
        return logits(recipient.model, IDS)

    alone, plain, ours, met = [patched("donor"), patched("other")], own(), threading.get_ident(), []

    def intrude(*_: Any) -> None:
        if threading.get_ident() == ours and len(met) < 3:
            met.append(elsewhere(lambda: patched("other"), own))

    hook = recipient.base.model.layers[1].register_forward_pre_hook(intrude)
    first = patched("donor")
    hook.remove()
    assert [first, met[0][0]] == alone
    assert all(other == alone[1] and torch.equal(same, plain) for other, same in met)


def test_no_two_threads_make_modules_at_once(
    lm: LanguageModel, folder: Path, new_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most, made = 0, 0, set()

    def watch(place: Any, name: str) -> None:
        make = getattr(place, name)

        def call(*args: Any, **options: Any) -> Any:
            nonlocal inside, most
            inside, most = inside + 1, max(most, inside + 1)
            made.add(name)
            time.sleep(0.02)
            try:
                return make(*args, **options)
            finally:
                inside -= 1

        monkeypatch.setattr(place, name, call)

    models = [LanguageModel(new_model(), lm.tokenizer, "tiny") for _ in range(3)]
    train(models[0], random_rows(4), CONFIG, folder / "own", on_progress=no_bar)
    watch(AutoModelForCausalLM, "from_pretrained")
    watch(PeftModel, "from_pretrained")
    watch(PeftModel, "add_adapter")
    watch(lora, "get_peft_model")
    results = elsewhere(
        lambda: hm.load_model("miniature-llama"),
        lambda: hm.load_model("miniature-llama"),
        lambda: hm.patch(str(folder / "donor"), models[0], ROWS, HEADS, new_tokens=2, stop=None),
        lambda: hm.patch(str(folder / "donor"), models[1], ROWS, HEADS, new_tokens=2, stop=None),
        lambda: train(models[2], random_rows(4), CONFIG, folder / "out", on_progress=no_bar),
    )
    assert not [one for one in results if isinstance(one, Exception)]
    assert made == {"from_pretrained", "add_adapter", "get_peft_model"}
    assert most == 1
