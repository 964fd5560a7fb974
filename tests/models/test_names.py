"""What a model's name stands for, without torch and without a network."""

import subprocess
import sys
from pathlib import Path

import pytest

from haymaker.errors import ConfigError, ModelError
from haymaker.models.names import (
    check_model,
    check_tokenizer,
    display_name,
    find_model,
    model_here,
)
from haymaker.models.packaged import MINIATURES


def test_a_packaged_name_a_folder_and_an_id_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "miniature-llama").mkdir()  # a folder that bears a packaged name does not take its place
    monkeypatch.chdir(tmp_path)
    assert find_model("miniature-llama") == MINIATURES / "llama"
    assert find_model("mine") == Path("mine")
    assert find_model("meta-llama/Llama-2-7b-hf") is None
    for wrong in ("nowhere", Path("meta-llama/Llama-2-7b-hf"), "a/b/c"):
        with pytest.raises(ModelError, match=r"no such model folder; .*owner/name.* miniature-llama"):
            find_model(wrong)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelError, match=r"notes.txt: a file that is no GGUF; give a folder, a GGUF file"):
        find_model("notes.txt")
    assert [display_name(name) for name in ("miniature-llama", str(tmp_path / "mine"), "a/b")] == [
        "miniature-llama",
        "mine",
        "a/b",
    ]


def test_what_is_not_here_or_incomplete_is_a_fault_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haymaker.models.names.hub_snapshot", lambda name: None)
    assert model_here("miniature-llama", check_model) == MINIATURES / "llama"
    with pytest.raises(ConfigError, match="not in the local Hub cache.*hf download owner/name"):
        model_here("owner/name", check_model)
    with pytest.raises(ConfigError, match="no such model folder"):
        model_here("nowhere", check_model)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert model_here(str(tmp_path), check_tokenizer) == tmp_path
    with pytest.raises(ConfigError, match=r"no config\.json"):
        model_here(str(tmp_path), check_model)
    (tmp_path / "tokenizer.json").rename(tmp_path / "tokenizer_config.json")
    with pytest.raises(ConfigError, match="no tokenizer"):
        model_here(str(tmp_path), check_tokenizer)


def test_names_import_no_torch() -> None:
    script = "import sys, haymaker.models.names; assert not {'torch', 'transformers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
