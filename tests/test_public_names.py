"""The public names exist, load lazily, and functions win over the modules that share their names."""

import subprocess
import sys

import haymaker


def test_every_public_name_loads() -> None:
    for name in haymaker.__all__:
        assert getattr(haymaker, name) is not None, name


def test_functions_win_over_modules_of_their_name() -> None:
    code = (
        "import haymaker.train, haymaker.build, haymaker.probe, haymaker.evaluate; import haymaker as hm; "
        "assert all(callable(f) for f in (hm.train, hm.build, hm.probe, hm.evaluate)); "
        "from haymaker.train import train; assert hm.train is train"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_needs_no_torch() -> None:
    code = "import haymaker, haymaker.metrics, haymaker.stats, haymaker.scores, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
