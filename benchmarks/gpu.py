"""Haymaker on one CUDA GPU, in four parts that can be run alone: probe, map, train, study.

Random weights in the shape of Llama-3.1-8B, bfloat16, made on the device: no network, no files. Every part checks that
it measures the right numbers before it times them, writes its page after every figure, and stops at its time.

    python benchmarks/gpu.py                  # all parts: under 12 minutes on 80 GB; pages in benchmarks/results
    python benchmarks/gpu.py train            # one part
    python benchmarks/gpu.py --tiny --out /tmp/pages    # the same steps on a CPU, small
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # before torch: no holes between sizes

import torch
from gpu_common import Setting
from gpu_map import measure_map
from gpu_probe import measure_probe
from gpu_study import default_study, measure_study
from gpu_train import measure_train
from tables import RESULTS

PARTS = {"train": measure_train, "probe": measure_probe, "map": measure_map}
SECONDS = {"train": 240, "probe": 180, "map": 90, "study": 150}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*SECONDS, []], default=[])
    parser.add_argument("--tiny", action="store_true", help="small, on the CPU")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="when a part stops, in place of its own limit")
    parser.add_argument("--study", help="a study of the study part; by default SmolLM2's, else or tiny the miniature")
    chosen = parser.parse_args()
    if not chosen.tiny and not torch.cuda.is_available():
        sys.exit("expected a CUDA GPU, found none: run this on one, or --tiny on a CPU")
    model, failures = None, []
    for part in chosen.parts or SECONDS:
        started = time.monotonic()
        setting = Setting(chosen.tiny, chosen.out, chosen.repeats, started + (chosen.seconds or SECONDS[part]))
        if part == "study":
            model = None
            measure_study(setting, chosen.study or ("miniature" if chosen.tiny else default_study()))
        else:
            model = model if model is not None else setting.model()
            failures += failed(PARTS[part], setting, model)
        print(f"{part}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    sys.exit("; ".join(failures) or None)


def failed(measure: Callable[..., None], setting: Setting, model: Any) -> list[str]:
    """What a part found wrong; the parts after it still run."""
    try:
        measure(setting, model)
    except AssertionError as error:
        return [str(error)]
    return []


if __name__ == "__main__":
    main()
