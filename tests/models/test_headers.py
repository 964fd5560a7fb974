"""What safetensors files say of their tensors; a broken file says nothing, and loading will tell."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from haymaker.models.headers import INDEX_FILE, header_of, tensors_in


@pytest.mark.parametrize("header", [b"", b"[", b"[" * 100_000, b"[]", b"\xff", b'{"a": 1'])
def test_a_broken_header_says_nothing(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert header_of(tmp_path / "a.safetensors") == tensors_in(tmp_path) == {}


def test_an_index_names_files_of_its_folder_alone(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in (tmp_path / "a.safetensors", model / "b.safetensors", model / "c.safetensors"):
        save_file({path.stem: torch.zeros(2)}, path)
    assert set(tensors_in(model)) == {"b", "c"}
    named = {"a": "../a.safetensors", "b": "b.safetensors", "c": "x" * 5_000, "d": None, "e": ["b.safetensors"]}
    (model / INDEX_FILE).write_text(json.dumps({"weight_map": named}))
    assert set(tensors_in(model)) == {"b"}
