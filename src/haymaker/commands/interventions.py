"""haymaker ablate | patch | attribute | causal-map: answers without some heads, or with another model's."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.commands.common import (
    Adapter,
    Data,
    ExtendTo,
    Json,
    Model,
    Overwrite,
    Rows,
    fresh_file,
    fresh_folder,
    print_json,
    show,
    table,
)
from haymaker.commands.models import Draws, HeadFile, NewTokens, OutFile, OutFolder, Seed, open_data, open_model
from haymaker.console import bar
from haymaker.errors import ConfigError

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset
    from haymaker.heads.scores import HeadScores
    from haymaker.models.load import LanguageModel

SIZES = (1, 2, 5, 10)
COLUMNS = ("donor", "recipient", "heads", "k", "draw", "f1", "f1_low", "f1_high", "delta", "n", "head_list")

Scope = Annotated[str, typer.Option(help="Positions that are edited: all, prompt, last, decode; joined by +.")]

Lender = Annotated[
    Path | None, typer.Option("--donor", help="An adapter whose head outputs are written in, instead of zeros.")
]
Top = Annotated[int, typer.Option(min=1, help="How many heads to print.")]


def register(app: typer.Typer) -> None:
    app.command("ablate")(ablate)
    app.command("patch")(patch)
    app.command("attribute")(attribute)
    app.command("causal-map")(causal_map)


def ablate(
    model: Model,
    data: Data,
    heads: HeadFile,
    out: OutFolder,
    k: Annotated[list[int] | None, typer.Option("--k", min=1, help="Heads to mask; may be repeated.")] = None,
    draws: Draws = 3,
    scope: Scope = "all",
    adapter: Adapter = None,
    extend: ExtendTo = None,
    rows: Rows = None,
    new_tokens: NewTokens = 32,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Mask the top-k heads of a score file, and k other heads drawn at random, while the model answers."""
    with fresh_folder(out, overwrite) as folder:
        scores, dataset, lm = read_scores(heads), open_data(data, rows), open_model(model, adapter, extend)
        from haymaker.interventions import ablation_curve

        sizes = tuple(k or SIZES)
        options = {"seed": seed, "new_tokens": new_tokens, "scope": scope}
        with bar("answers", (1 + len(sizes) * (1 + draws)) * len(dataset)) as advance:
            found = ablation_curve(lm, dataset, scores, sizes, draws, on_progress=advance, **options)
        write_table(folder, "ablation", found)
    tell(found, json)


def patch(
    model: Model,
    data: Data,
    heads: HeadFile,
    out: OutFolder,
    donor: Annotated[Path, typer.Option("--donor", help="The adapter whose head outputs are lent.")],
    recipient: Annotated[Path, typer.Option("--recipient", help="The adapter that answers with them.")],
    donor_heads: Annotated[Path, typer.Option("--donor-heads", help="Head scores of the donor.")],
    k: Annotated[int, typer.Option("--k", min=1, help="Most heads of a set.")] = 10,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="A head is active if its mean exceeds this.")] = 0.0,
    draws: Draws = 3,
    both: Annotated[bool, typer.Option("--both", help="Also the other way: recipient into donor.")] = False,
    scope: Scope = "all",
    two_models: Annotated[
        bool, typer.Option("--two-models", help="Load the donor beside the recipient, not as a row of its batch.")
    ] = False,
    rows: Rows = None,
    new_tokens: NewTokens = 32,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a donor's heads into a recipient while it answers: those both use, the donor's own, random ones."""
    for name, path in (("--donor", donor), ("--recipient", recipient)):
        if not path.is_dir():
            raise ConfigError(f"{name} {path}: no such folder; give an adapter's")
    options = {"k": k, "threshold": threshold, "draws": draws, "seed": seed, "new_tokens": new_tokens, "scope": scope}
    ways = [(donor, recipient, donor_heads, heads), (recipient, donor, heads, donor_heads)]
    with fresh_folder(out, overwrite) as folder:
        dataset, found = open_data(data, rows), []
        for way in ways[: 2 if both else 1]:
            found += one_way(model, way, dataset, two_models, options | {"identity": is_same(donor, recipient)})
        write_table(folder, "patching", found)
    tell(found, json)


def one_way(
    model: str, way: tuple[Path, Path, Path, Path], dataset: Any, two_models: bool, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """The rows of one direction; the donor's adapter goes on the recipient's base model, unless two are asked for."""
    donor, recipient, scores = way[0], way[1], [read_scores(path) for path in way[2:]]
    lm = open_model(model, recipient)
    from haymaker.interventions import patching_table

    lender = open_model(model, donor) if two_models else donor
    sets = 2 if options["identity"] else 3 + options["draws"]
    with bar("answers", sets * len(dataset)) as advance:
        rows = patching_table(lender, lm, dataset, scores[0], scores[1], on_progress=advance, **options)
    return [{"donor": donor.name, "recipient": recipient.name} | row for row in rows]


def is_same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def attribute(
    model: Model,
    data: Data,
    out: OutFile,
    adapter: Adapter = None,
    extend: ExtendTo = None,
    donor: Lender = None,
    scope: Scope = "last+decode",
    rows: Rows = None,
    top: Top = 10,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Estimate every head's effect on the gold answer's log-probability from one forward and one backward pass."""

    def effects(lm: "LanguageModel", dataset: "Dataset", lender: "LanguageModel | None") -> "HeadScores":
        from haymaker.interventions import attribute as attribute_effects

        with bar("examples", len(dataset)) as advance:
            return attribute_effects(lm, dataset, lender, scope, advance)

    write_effects(effects, model, data, out, adapter, extend, donor, rows, top, overwrite, json)


def causal_map(
    model: Model,
    data: Data,
    out: OutFile,
    adapter: Adapter = None,
    extend: ExtendTo = None,
    donor: Lender = None,
    scope: Scope = "last+decode",
    tokens_at_once: Annotated[int, typer.Option("--tokens-at-once", min=1, help="Rows of one forward.")] = 1024,
    rows: Rows = None,
    top: Top = 10,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Measure what the gold answer's log-probability loses without each single head (or gains by a donor's)."""

    def effects(lm: "LanguageModel", dataset: "Dataset", lender: "LanguageModel | None") -> "HeadScores":
        from haymaker.interventions import causal_map as map_heads

        with bar("examples", len(dataset)) as advance:
            return map_heads(lm, dataset, lender, scope, tokens_at_once, on_progress=advance)

    write_effects(effects, model, data, out, adapter, extend, donor, rows, top, overwrite, json)


def write_effects(
    effects: Callable[..., "HeadScores"],
    model: str,
    data: Path,
    out: Path,
    adapter: Path | None,
    extend: int | None,
    donor: Path | None,
    rows: int | None,
    top: int,
    overwrite: bool,
    json: bool,
) -> None:
    """Write what effects(model, dataset, donor or None) finds, and print the first heads."""
    if out.suffix == ".json":
        raise ConfigError(f"--out {out}: a summary in .json is written beside the scores; give a name in .safetensors")
    with fresh_file(out, overwrite) as file:
        dataset, lm = open_data(data, rows), open_model(model, adapter, extend)
        lender = open_model(model, donor) if donor is not None else None
        scores = effects(lm, dataset, lender)
        scores.save(file)
    best = {str(head): float(scores.mean[head]) for head in scores.top(top)}
    if json:
        print_json({"out": str(out), "metric": scores.metric, "n": len(scores.values), "top": best})
    else:
        show({f"head {name}": value for name, value in best.items()} | {"out": str(out)}, False)


# ---- files


def read_scores(path: Path) -> "HeadScores":
    """Head scores from their file, or from a study's folder."""
    from haymaker.heads.scores import HeadScores

    return HeadScores.load(path / "heads.safetensors" if path.is_dir() else path)


def write_table(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    from haymaker.study.rows import write_rows

    write_rows(folder, name, rows)


def tell(rows: list[dict[str, Any]], json: bool) -> None:
    """The result, for machines or people."""
    if json:
        from haymaker.study.rows import plain

        print_json([plain(row) for row in rows])
    else:
        table(rows, {key: key for key in COLUMNS if key in rows[0]})
