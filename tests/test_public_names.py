"""The public names exist, load lazily, and no module can hide them."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import haymaker


def test_every_public_name_loads() -> None:
    for name in haymaker.__all__:
        assert getattr(haymaker, name) is not None, name


def test_no_package_or_module_bears_the_name_of_a_public_function() -> None:
    functions = {name for name in haymaker.__all__ if not isinstance(getattr(haymaker, name), ModuleType)}
    root = Path(haymaker.__file__).parent
    named = {part for path in root.rglob("*.py") for part in path.relative_to(root).with_suffix("").parts}
    assert not functions & named


def test_import_needs_no_torch() -> None:
    modules = "haymaker, haymaker.metrics, haymaker.stats, haymaker.heads.scores, sys"
    code = f"import {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
