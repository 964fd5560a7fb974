"""Plausible results of a study, made up, for tests of the report: the patterns of the paper at the miniature's size."""

from itertools import product
from typing import Any

from haymaker.randomness import keyed

Row = dict[str, Any]

KEYS = {"model": "miniature-llama", "task": "mdqa"}
LAYERS, HEADS, N = 4, 8, 200
F1 = {
    "base": 0.05,
    "extended": 0.21,
    "real": 0.81,
    "high-high": 0.62,
    "high-low": 0.55,
    "low-high": 0.48,
    "low-low": 0.34,
    "symbolic": 0.41,
}
STRENGTH = {
    "base": 0.1,
    "extended": 0.5,
    "real": 1.0,
    "high-high": 0.85,
    "high-low": 0.8,
    "low-high": 0.6,
    "low-low": 0.4,
    "symbolic": 0.5,
}
RETRIEVING = {(1, 3): 0.5, (2, 0): 0.86, (2, 5): 0.72, (2, 6): 0.12, (3, 1): 0.44, (3, 2): 0.3, (3, 7): 0.21}
SYNTHETIC = ("high-high", "high-low", "low-high", "low-low", "symbolic")


def change(rows: list[Row], wanted: Row, **values: Any) -> None:
    """Set values in the rows whose columns equal the wanted ones; at least one must."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert found
    for row in found:
        row.update(values)


def results() -> dict[str, Any]:
    """The contents of a results.json with all tables filled."""
    return {
        "meta": meta(),
        "tables": {
            "evaluation": evaluation(),
            "heads": heads(),
            "similarity": similarity(),
            "ablation": ablation(),
            "patching": patching(),
            "correlation": correlation(),
            "patterns": patterns(),
            "signs": [],
            "tracking": tracking(),
            "breakdown": breakdown(),
            "timings": timings(),
        },
    }


def meta() -> Row:
    return {
        "study": "miniature",
        "created": "2026-01-31T12:00:00Z",
        "seed": 0,
        "versions": {"haymaker": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "python": "3.11.9"},
        "machine": "2 CPU cores, no GPU",
        "model": {"name": "miniature-llama", "parameters": 2_900_000, "layers": LAYERS, "heads": HEADS, "context": 128},
        "config": {"task": "mdqa", "length": 512, "train": {"steps": 100, "rank": 8}, "settings": list(F1)},
    }


def bounded(value: float, margin: float = 0.055) -> Row:
    low, high = round(max(0, value - margin), 3), round(min(1, value + margin), 3)
    return {"metric": "squad_f1", "score": value, "score_low": low, "score_high": high}


def scored(setting: str, length: int, value: float) -> Row:
    exact = round(value * 0.9, 3)
    return {
        **{**KEYS, "setting": setting, "split": "test", "length": length, "n": N},
        **bounded(value),
        "squad_em": exact,
        **{"parsed": 0.95, "parsed_low": 0.91, "parsed_high": 0.97},
        **{"cut_off": 2, "seconds": 12.5},
    }


def evaluation() -> list[Row]:
    falls = {64: (0.99, 0.99), 128: (0.94, 0.93), 256: (0.41, 0.55), 1024: (0.01, 0.06)}
    rows = [scored(setting, 512, value) for setting, value in F1.items()]
    for length, (base, extended) in falls.items():
        rows += [scored("base", length, base), scored("extended", length, extended)]
    return rows


def breakdown() -> list[Row]:
    """F1 by depth of two settings, and of one of them by hops; 40 questions a group of depth."""
    told = {**KEYS, "length": 512, "metric": "squad_f1", "by": "depth", "n": 40}
    fifths = [f"{i / 5:.1f}-{(i + 1) / 5:.1f}" for i in range(5)]
    falls = {"real": (0.9, 0.8, 0.7, 0.8, 0.85), "symbolic": (0.6, 0.4, 0.3, 0.4, 0.35)}
    rows = [
        told | {"setting": setting, "group": group} | bounded(value, 0.1)
        for setting, values in falls.items()
        for group, value in zip(fifths, values, strict=True)
    ]
    hops = {"setting": "real", "by": "hops"}
    return [*rows, *(told | hops | {"group": str(n)} | bounded(1 - n / 5, 0.1) for n in (2, 3))]


def head_score(setting: str, layer: int, head: int) -> float:
    noise = keyed(0, setting, layer, head).uniform(-0.1, 0.1)
    return round(max(0.0, RETRIEVING.get((layer, head), 0.0) * STRENGTH[setting] + noise - 0.05), 4)


def heads() -> list[Row]:
    cells = product(F1, range(LAYERS), range(HEADS))
    return [
        {
            **{**KEYS, "setting": setting, "metric": "copy", "layer": layer, "head": head, "n": N},
            "score": (score := head_score(setting, layer, head)),
            **{"low": round(max(0, score - 0.03), 4), "high": round(score + 0.03, 4)},
        }
        for setting, layer, head in cells
    ]


def similarity() -> list[Row]:
    numbers = {
        "high-high": (0.98, 1.0, 0.9, 8),
        "high-low": (0.97, 0.9, 0.9, 8),
        "low-high": (0.95, 0.7, 0.88, 7),
        "low-low": (0.91, 0.5, 1.0, 5),
        "symbolic": (0.93, 0.6, 1.0, 6),
    }
    return [
        {
            **{**KEYS, "setting": setting, "reference": "real", "cosine": cosine, "recall": recall, "subset": subset},
            **{
                "overlap": recall,
                "k": 3,
                "active": active,
                "active_reference": 9,
                "metric": "squad_f1",
                "score": F1[setting],
            },
        }
        for setting, (cosine, recall, subset, active) in numbers.items()
    ]


def ablation() -> list[Row]:
    rows = []
    for setting, lost in {"real": 0.24, "high-high": 0.2}.items():
        f1 = F1[setting]
        rows.append(masked(setting, "none", 0, 0, f1))
        for k in (1, 3, 6):
            rows.append(masked(setting, "retrieval", k, 0, round(max(0.02, f1 - lost * k), 3)))
            for draw in range(3):
                loss = 0.012 * k * keyed(0, setting, k, draw).uniform(-0.4, 2.0)
                rows.append(masked(setting, "random", k, draw, round(f1 - loss, 3)))
    return rows


def masked(setting: str, kind: str, k: int, draw: int, value: float) -> Row:
    names = " ".join(f"2-{head}" for head in range(k))
    keys = {**KEYS, "setting": setting, "heads": kind, "k": k, "draw": draw}
    return {**keys, **bounded(value), "n": N, "head_list": names}


def patching() -> list[Row]:
    gains = {"high-high": 0.08, "high-low": 0.12, "low-high": 0.17, "low-low": 0.21, "symbolic": 0.25}
    rows = [patched("real", "identity", 3, 0, 0.0)]
    for setting, gain in gains.items():
        rows.append(patched(setting, "none", 0, 0, 0.0))
        rows.append(patched(setting, "intersection", 3, 0, gain))
        rows.append(patched(setting, "complement", 3, 0, round(gain * 0.4 - 0.05, 3)))
        rows += [patched(setting, "random", 3, draw, round(0.02 * (draw - 1), 3)) for draw in range(3)]
    return rows


def patched(setting: str, kind: str, k: int, draw: int, gain: float) -> Row:
    keys = {**KEYS, "donor": "real", "setting": setting, "heads": kind, "k": k, "draw": draw}
    value = round(F1[setting] + gain, 3)
    return {**keys, **bounded(value), "score_original": F1[setting], "delta": gain, "n": N, "head_list": "2-0 2-5 3-1"}


def correlation() -> list[Row]:
    found = {"cosine": (1.0, 0.017), "recall": (0.9, 0.083), "overlap": (0.9, 0.083)}
    return [
        {**KEYS, "measure": name, "metric": "squad_f1", "spearman": rho, "p": p, "n": 5}
        for name, (rho, p) in found.items()
    ]


def patterns() -> list[Row]:
    told = {"effect": 0.19, "low": 0.11, "high": 0.27, "p": 0.001, "n": N, "seeds": 1, "why": "", "rule": "By bounds."}
    shown = {"pattern": "a", "claim": "Real data beats every synthetic setting", "verdict": "shown", "paper": "yes"}
    words = {"measure": "difference of score", "sentence": "high-high 0.19 [0.11, 0.27]"}
    unknown = {
        "pattern": "d",
        "verdict": "undecided",
        "effect": None,
        "low": None,
        "high": None,
        "p": None,
        "sentence": "",
    }
    first = KEYS | told | shown | words
    return [
        first,
        first | unknown | {"claim": "Likeness goes with the score", "why": "not judged: with 4 settings no order"},
    ]


def tracking() -> list[Row]:
    """Two settings, of which one was trained with two seeds, read at the start, halfway and at the end."""
    runs = {("real", 0): (0.0, 0.4, 1.0), ("real", 1): (0.2, 0.6, 1.0), ("symbolic", 0): (0.1, 0.2, 1.0)}
    return [
        {**KEYS, "setting": setting, "seed": seed, "step": step, "metric": "copy", "reference": "end", "k": 3, "n": 32}
        | {"recall": recall, "cosine": round(0.5 + recall / 2, 3), "overlap": recall, "active": 9, "seconds": 1.5}
        for (setting, seed), values in runs.items()
        for step, recall in zip((0, 50, 100), values, strict=True)
    ]


def timings() -> list[Row]:
    stages = {"build": 2.0, "train": 31.0, "evaluate": 12.5, "heads": 4.0, "ablate": 9.0, "patch": 14.0}
    cells = product(stages.items(), F1)
    return [
        {"cell": f"{i:012x}", "stage": stage, "setting": setting, "seconds": seconds + i % 3, "cached": i % 11 == 0}
        for i, ((stage, seconds), setting) in enumerate(cells)
    ]


def examples() -> list[Row]:
    """Two questions as two settings answered them; one answer is markup."""
    told = KEYS | {"metric": "squad_f1", "seed": 0, "finish": "stop", "length": 512}
    first = {"example_id": "mill", "question": "Who founded the mill?", "evidence": "Ada founded it.", "answers": "Ada"}
    second = {"example_id": "port", "question": "Where is Bo?", "evidence": "Bo is in Fofe.", "answers": "Fofe"}
    wrong = {"prediction": "<img src=x onerror=alert(1)>", "score": 0.0}
    return [
        told | {"setting": setting} | question | answer
        for setting in ("real", "symbolic")
        for question, answer in ((first, wrong), (second, {"prediction": "Fofe", "score": 1.0}))
    ]


def reads() -> list[Row]:
    """What one head read while the second answer was produced."""
    told = KEYS | {"setting": "real", "seed": 0, "example_id": "port", "layer": 2, "head": 0, "weight": 0.9}
    return [told | {"step": 0, "produced": "Ada", "read": "Ada", "kind": "evidence"}]
