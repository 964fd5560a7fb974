"""The example of a plug-in, installed by pip and used by a process that knows of it by its entry points alone."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from haymaker.choices import REGISTRIES

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "examples" / "plugin"
NAMES = {
    "task": "birthplaces",
    "concept": "ledger",
    "context": "weather",
    "metric": "starts_with",
    "detector": "first_mass",
    "edit": "Half",
}
USE = """
import json, sys
import haymaker as hm
from haymaker.cli import app

seen = {table.kind: [name for name in table if name not in table.own] for table in hm.choices.REGISTRIES}
listed = "haymaker_example" not in sys.modules and "torch" not in sys.modules

lm = hm.load_model("miniature-llama", extend=hm.Extend(length=256))
recipe = hm.Recipe(task="birthplaces", setting="ledger-weather", length=256, rows=3)
data = hm.build(recipe, lm.tokenizer)
chains = hm.build(recipe.changed(task="musique"), lm.tokenizer)
twins = hm.build(recipe.changed(task="mdqa", source=sys.argv[1], length=700, rows=2), lm.tokenizer)
scores = hm.detect_heads(lm, data, metric="first_mass")
from haymaker.evaluation.exam import scores_of
ids = lm.tokenizer(data[0].text, return_tensors="pt")
whole = lm.model(**ids).logits
with hm.edit(lm.model, hm.choices.EDITS["Half"](["0-0"])):
    halved = lm.model(**ids).logits
answered = hm.evaluate(lm, data, new_tokens=4, metrics=["starts_with"])
judged, _ = scores_of(data[0].target + ", they say", data[0].answers, hm.choices.TASKS["birthplaces"].METRICS)

run = ["study", "run", sys.argv[2], "--runner", "serial", "--set", "tasks.birthplaces.test.rows=4"]
app(run, standalone_mode=False)
print(json.dumps({
    "seen": seen, "listed": listed, "texts": [row[0].text for row in (data, chains, twins)],
    "axes": [data[0].concept, data[0].context], "packages": scores.provenance["packages"],
    "versions": data.manifest["versions"], "scores": [float(scores.mean.min()), float(scores.mean.max())],
    "judged": judged, "answered": answered.values("starts_with").tolist(),
    "changed": bool((whole != halved).any()), "restored": bool((whole == lm.model(**ids).logits).all()),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example, without network."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    shutil.copytree(PLUGIN, source / "plugin")
    offline = "--quiet --no-deps --no-build-isolation --no-index --disable-pip-version-check --target".split()
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, target, source / "plugin"], check=True)
    return target


def used(folder: Path, code: str, *arguments: str | Path, cwd: Path) -> str:
    """Stdout of a fresh process that has the folder's packages beside Haymaker."""
    path = os.pathsep.join([str(folder), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_example_brings_one_of_each_and_is_used_everywhere(installed: Path, tmp_path: Path) -> None:
    from real_rows import mdqa_row, write_jsonl

    source = write_jsonl(tmp_path / "mdqa.jsonl", [mdqa_row(n) for n in range(6)])
    found = json.loads(used(installed, USE, source, PLUGIN / "study.yaml", cwd=tmp_path).splitlines()[-1])
    assert found["seen"] == {table.kind: [NAMES[table.kind]] if table.kind in NAMES else [] for table in REGISTRIES}
    assert found["listed"], "names are listed without loading the plug-in or torch"
    assert found["axes"] == ["ledger", "weather"]
    assert all(re.search(r"\bIt was (dry|wet|cold) for \d+ days\.", text) for text in found["texts"]), "the context"
    assert all(re.search(r"\b\w+ of [\w ]+: \w+", text) for text in found["texts"]), "the concept"
    assert found["packages"] == {"haymaker-example": "0.1.0"}
    assert found["versions"]["haymaker-example"] == "0.1.0"
    assert 0 <= found["scores"][0] < found["scores"][1] <= 1
    assert found["judged"]["starts_with"] == 1.0
    assert set(found["answered"]) <= {0.0, 1.0}
    assert found["changed"]
    assert found["restored"]
    results = json.loads((tmp_path / "runs" / "plugin" / "results.json").read_text())
    assert {row["setting"] for row in results["tables"]["evaluation"]} == {"extended", "real", "ledger-weather"}
    assert {row["metric"] for row in results["tables"]["heads"]} == {"first_mass"}
    assert "ledger-weather" in (tmp_path / "runs" / "plugin" / "report.html").read_text()


TWICE = """
import haymaker as hm
for ask in (lambda: hm.choices.METRICS["starts_with"], lambda: hm.Recipe(task="birthplaces", length=256, rows=1)):
    try:
        ask()
    except hm.errors.ConfigError as error:
        print(error)
print(hm.choices.METRICS["squad_f1"]("b", ["b"]), "weather" in hm.choices.CONTEXTS)
"""


def test_two_packages_that_bring_one_name_are_both_told(installed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other_example-2.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other-example\nVersion: 2.0\n")
    lines = "[haymaker.metrics]\nstarts_with = os.path:join\n[haymaker.tasks]\nbirthplaces = nowhere\n"
    (other / "entry_points.txt").write_text(lines)
    path = os.pathsep.join([str(installed), str(tmp_path)])
    told = used(Path(path), TWICE, cwd=tmp_path).splitlines()
    assert "'starts_with'" in told[0]
    assert "Recipe: task: task 'birthplaces'" in told[1]
    assert all("haymaker-example" in line and "other-example" in line for line in told[:2])
    assert told[2] == "1.0 True"


def test_the_example_is_small() -> None:
    text = (PLUGIN / "haymaker_example.py").read_text()
    statements = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    docstrings = [node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    imports = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(statements) - len(docstrings) - len(imports) <= 35
