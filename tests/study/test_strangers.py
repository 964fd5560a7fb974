"""A store, a request or a model from elsewhere: nothing is written outside, executed, or told that is secret."""

import json
import os
import pickletools
from pathlib import Path
from typing import Any

import pytest
from toy_stages import FAIL, LEARN, WORK, Toy

from haymaker.errors import OutputError
from haymaker.study import Plan, Store, execute
from haymaker.study.cell import Cell
from haymaker.study.lease import machine
from haymaker.study.runners import Work
from haymaker.study.runners.local import local_pool
from haymaker.study.runners.sending import packed
from haymaker.study.store import PLACES
from haymaker.study.survey import Survey, find_broken, find_garbage

SECRETS = {"HF_TOKEN": "hf_secret", "OPENAI_API_KEY": "sk-secret", "WANDB_API_KEY": "wandb-secret"}


@pytest.fixture
def plan() -> Plan:
    return Plan.of("toy", [Cell("one", WORK, Toy(value=1)), Cell("bad", FAIL, Toy())])


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    return folder


def key_of(plan: Plan, store: Store) -> str:
    return str(Survey(plan, store).all()["one"].key)


@pytest.mark.parametrize("place", PLACES)
def test_a_folder_of_a_store_that_is_a_link_leads_nothing_out_of_it(
    place: str, plan: Plan, outside: Path, tmp_path: Path
) -> None:
    """Nothing is written there, and nothing that looks like a store's is removed: cells of another store, say."""
    store, theirs = Store(tmp_path / "store"), outside / ("a" * 64)
    theirs.mkdir()
    store.root.mkdir()
    (store.root / place).symlink_to(outside)
    with pytest.raises(OutputError, match="a link leads out of the store"):
        execute(plan, store, local_pool(1))
    with pytest.raises(OutputError, match="a link leads out of the store"):
        find_garbage(Survey(plan, store))
    assert sorted(path.name for path in outside.rglob("*")) == [theirs.name, "precious.txt"]


@pytest.mark.parametrize("target", ["precious.txt", "new.txt"])
@pytest.mark.parametrize("name", ["logs/{}.log", "failures/{}.json", "leases/{}.json", "plans/toy.json", "work/{}"])
def test_a_file_of_a_store_that_is_a_link_is_not_written_through(
    name: str, target: str, plan: Plan, outside: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    link = store.root / name.format(key_of(plan, store))
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / target)
    with pytest.raises(OutputError, match="a link leads out of the store"):
        execute(plan, store, local_pool(1))
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(OutputError, match="neither a file nor a folder"):
        execute(plan, store, local_pool(1))
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("precious.txt", "mine")]


@pytest.mark.parametrize("pid", [True, "1", -1, 0, 10**30, 1.5, None, [], {}])
@pytest.mark.parametrize("form", ['{"token": "x", "pid": %s, "host": %s}', '{"pid": %s, "host": %s}', "[%s, %s]"])
def test_a_lease_that_says_something_else_is_nobody_s(form: str, pid: object, plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    lease = store.lease_path(key_of(plan, store))
    lease.parent.mkdir(parents=True)
    lease.write_text(form % (json.dumps(pid), json.dumps(machine())))
    os.utime(lease, (0, 0))
    assert list(execute(plan, store).ran) == ["one"]


@pytest.mark.parametrize("name", ["output", "manifest.json", "output/value.txt", "output/tables", "pieces"])
def test_a_link_in_what_an_interrupted_stage_left_is_not_written_through(
    name: str, outside: Path, tmp_path: Path
) -> None:
    store, plan = Store(tmp_path / "store"), Plan.of("toy", [Cell("one", LEARN, Toy(value=1))])
    link = store.root / "work" / key_of(plan, store) / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / "precious.txt" if "." in name else outside)
    assert "a link leads out of the store" in execute(plan, store).failed["one"]
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("precious.txt", "mine")]


def test_a_store_that_is_a_link_itself_is_one_as_others_are(plan: Plan, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    assert list(execute(plan, Store(tmp_path / "link")).ran) == ["one"]


def test_a_cell_that_is_a_link_is_removed_without_what_it_leads_to(plan: Plan, outside: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    execute(plan, store)
    cell = store.root / "cells" / key_of(plan, store)
    cell.rename(outside / "cell")
    cell.symlink_to(outside / "cell")
    store.remove(cell)
    assert not cell.exists()
    assert (outside / "cell" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["../../../outside/precious.txt", "/etc/passwd", "..", "value.txt/../x"])
def test_a_manifest_s_names_of_files_are_compared_and_never_opened(
    name: str, plan: Plan, outside: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    execute(plan, store)
    path = store.root / "cells" / key_of(plan, store) / "manifest.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"files": record["files"] | {name: ["0" * 64, 4, 0]}}))
    assert [broken.cell for broken in find_broken(Survey(plan, store))] == ["one"]
    assert (outside / "precious.txt").read_text() == "mine"


def test_no_token_of_the_environment_stands_in_a_store(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    store = Store(tmp_path / "store")
    execute(plan, store, local_pool(1))
    written = b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
    assert b"value 1" in written
    assert b"the stage broke" in written
    assert not [value for value in SECRETS.values() if value.encode() in written]


def test_a_job_s_pickle_names_a_function_of_ours_and_holds_text(plan: Plan, tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    from haymaker.study.runners.slurm import CellJob

    request = packed(Work(plan.cells["one"], "a" * 64, {}, {}, tmp_path))
    submitit.core.utils.DelayedSubmission(CellJob(), request).dump(tmp_path / "job.pkl")
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops((tmp_path / "job.pkl").read_bytes()):
        assert opcode.name not in ("GLOBAL", "INST", "EXT1", "EXT2", "EXT4")
        strings += [argument] if isinstance(argument, str) else []
    modules = [text for text in strings if text.startswith(("haymaker", "submitit", "builtins", "os", "torch"))]
    assert set(modules) == {"submitit.core.utils", "haymaker.study.runners.slurm"}
    assert request in strings


def test_code_beside_a_model_is_not_run(model_folder: Path, tmp_path: Path) -> None:
    from haymaker.models.load import load_model

    mark = tmp_path / "ran"
    (model_folder / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w')\nfrom transformers import *")
    path = model_folder / "config.json"
    own: dict[str, Any] = {
        "auto_map": {"AutoModelForCausalLM": "modeling_own.LlamaForCausalLM", "AutoConfig": "modeling_own.LlamaConfig"}
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    load_model(model_folder)
    assert not mark.exists()
