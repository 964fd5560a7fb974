"""haymaker ablate | patch: answers without some heads, or with another model's."""

from pathlib import Path
from typing import Annotated, Any

import typer

from haymaker.commands import options as flag
from haymaker.commands.options import inputs_of, loading, stop_text
from haymaker.commands.output import fresh_folder, kept_beside, shared_by, show_rows, show_table
from haymaker.commands.own_prompt import Given, reads_data
from haymaker.config import PATCHED, HeadSetKind
from haymaker.errors import ConfigError
from haymaker.study.cell import Tables
from haymaker.study.stages import AblateParams, PatchParams, ablate_heads, patch_heads
from haymaker.study.store import plain, write_tables

COLUMNS = (
    "donor", "recipient", "heads", "k", "draw", "metric", "score", "score_low", "score_high", "delta", "n", "cut_off",
    "head_list", "answers",
)  # fmt: skip
RecipientHeads = Annotated[
    Path, typer.Option("--heads", help="The recipient's: a file of head scores in any format, or heads by name.")
]
OneKind = Annotated[
    HeadSetKind | None, typer.Option("--kind", help="One set alone, beside random ones.  [default: both]")
]

SHARED = ("device", "dtype", "threads", "adapter_base", "n")


def register(app: typer.Typer) -> None:
    app.command("ablate")(ablate)
    app.command("patch")(patch)


@reads_data
def ablate(
    *,
    model: flag.Model,
    given: Given,
    heads: flag.HeadFile,
    out: flag.OutFolder,
    k: Annotated[
        list[int] | None,
        typer.Option("--k", min=1, help="Heads to mask; may be repeated.  [default: 1, 2, 5, 10]"),
    ] = None,
    draws: flag.Draws = 3,
    scope: flag.Scope = "all",
    adapter: flag.Adapter = None,
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    rows: flag.Rows = None,
    new_tokens: flag.NewTokens = None,
    metrics: flag.Judges = None,
    stop: flag.Stop = "\\n",
    seed: flag.Seed = 0,
    batch: flag.Batch = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Mask the top-k heads of a score file, and k other heads drawn at random, while the model answers."""
    sizes: dict[str, Any] = {"k": tuple(k)} if k else {}
    params = AblateParams(
        **loading(extend, dtype), **sizes, draws=draws, scope=scope, rows=rows,
        new_tokens=new_tokens, metrics=tuple(metrics or ()), stop=stop_text(stop), seed=seed,
    )  # fmt: skip
    reading = (model, *given.files, heads, adapter)
    with (
        given.folder() as data,
        kept_beside(out, overwrite) as (keep, replace),
        fresh_folder(out, replace, ("tables",), reading=reading) as folder,
    ):
        inputs = inputs_of(model=model, data=data, heads=heads, adapter=adapter)
        tables = ablate_heads(params, inputs, folder, keep, batch=batch)
        keep_tables(folder, tables)
    tell(tables, json, model=model, out=str(out))


@reads_data
def patch(
    *,
    model: flag.Model,
    given: Given,
    heads: RecipientHeads,
    out: flag.OutFolder,
    donor: Annotated[Path, typer.Option("--donor", help="The adapter whose head outputs are lent.")],
    recipient: Annotated[Path, typer.Option("--recipient", help="The adapter that answers with them.")],
    donor_heads: Annotated[Path, typer.Option("--donor-heads", help="The donor's, in the same forms.")],
    k: Annotated[int, typer.Option("--k", min=1, help="Most heads of a set; sets are compared at one size.")] = 10,
    kind: OneKind = None,
    threshold: flag.Threshold = 0.0,
    draws: flag.Draws = 3,
    both: Annotated[bool, typer.Option("--both", help="Also the other way: recipient into donor.")] = False,
    scope: flag.Scope = "all",
    two_models: Annotated[
        bool, typer.Option("--two-models", help="Load the donor beside the recipient, not as a row of its batch.")
    ] = False,
    dtype: flag.Dtype = "auto",
    rows: flag.Rows = None,
    new_tokens: flag.NewTokens = None,
    metrics: flag.Judges = None,
    stop: flag.Stop = "\\n",
    seed: flag.Seed = 0,
    batch: flag.Batch = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Write a donor's heads into a recipient while it answers: those both use, the donor's own, random ones."""
    check_adapters(donor, recipient)
    params = PatchParams(
        **loading(None, dtype), k=k, kinds=(kind,) if kind else PATCHED, threshold=threshold,
        draws=draws, scope=scope, rows=rows, new_tokens=new_tokens,
        metrics=tuple(metrics or ()), stop=stop_text(stop), two_models=two_models,
        identity=donor.resolve() == recipient.resolve(), seed=seed,
    )  # fmt: skip
    forth = inputs_of(model=model, donor=donor, donor_heads=donor_heads, recipient=recipient, heads=heads)
    back = {**forth, "donor": recipient, "donor_heads": heads, "recipient": donor, "heads": donor_heads}
    with (
        given.folder() as data,
        kept_beside(out, overwrite) as (keep, replace),
        kept_beside(out, overwrite, "back") as (keep_back, replace_back),
        fresh_folder(out, replace or replace_back, ("tables",), reading=(*forth.values(), *given.files)) as folder,
    ):
        tables: Tables = {"patching": []}
        for inputs, kept in [(forth, keep), (back, keep_back)][: 1 + both]:
            names = {role: inputs[role].name for role in ("donor", "recipient")}
            found = patch_heads(params, {**inputs, "data": data}, folder, kept, batch=batch)
            tables["patching"] += [names | row for row in found["patching"]]
        keep_tables(folder, tables)
    tell(tables, json, model=model, out=str(out))


def check_adapters(donor: Path, recipient: Path) -> None:
    for name, path in (("--donor", donor), ("--recipient", recipient)):
        if not path.is_dir():
            raise ConfigError(f"{name} {path}: no such folder; give an adapter's")


def keep_tables(folder: Path, tables: Tables) -> None:
    """The rows as JSON, which `load_results` reads, and beside it as csv and parquet."""
    from haymaker.study.results import write_table_files

    write_tables(folder, tables)
    write_table_files(tables, folder / "tables")


def tell(tables: Tables, json: bool, **about: str) -> None:
    """The rows, for machines or people."""
    ((name, rows),) = tables.items()
    if json:
        show_table(name, [plain(row) for row in rows], **about, **shared_by(rows, SHARED))
    else:
        show_rows(rows, [name for name in COLUMNS if name in rows[0]])
