"""haymaker compare | report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from haymaker.commands.common import Json, KVRule, Overwrite, print_json, refuse_existing, show
from haymaker.commands.common import out as terminal


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)
    app.command("report")(report)


def compare(
    first: Annotated[Path, typer.Argument(help="Head scores: of `haymaker heads`, or Wu JSON, QRHead YAML, Duo TSV.")],
    reference: Annotated[Path, typer.Argument(help="Head scores to compare with.")],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="A head is active if its mean exceeds this.")] = 0.0,
    k: Annotated[int, typer.Option(min=1, help="Top heads whose overlap is counted.")] = 10,
    kv_rule: KVRule = "max",
    query_heads: Annotated[
        int | None, typer.Option("--query-heads", min=1, help="Query heads a layer, for a list beside KV heads.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare two files of head scores: cosine, rank correlation, recall, subset, overlap, and their maps."""
    from haymaker.heads.compare import comparable, comparison, side_by_side
    from haymaker.heads.formats import read_scores, rule_of

    own, other, unit = comparable(read_scores(first), read_scores(reference), rule_of(kv_rule), query_heads)
    values = comparison(own, other, threshold, k) | {"unit": unit}
    if json:
        best = {"top": [str(head) for head in own.top(k)], "top_reference": [str(head) for head in other.top(k)]}
        print_json(finite(values | best))
    else:
        show(values, False)
        terminal.print(side_by_side(own, other, (first.name, reference.name), threshold))


def finite(values: dict[str, Any]) -> dict[str, Any]:
    """With null for what is not a number, which JSON does not know."""
    return {key: None if value != value else value for key, value in values.items()}


def report(
    results: Annotated[Path, typer.Argument(help="results.json of a study, or the study's folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page.  [default: report.html beside it]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw report.html from results.json."""
    from haymaker.report import write_report

    source = results / "results.json" if results.is_dir() else results
    if out is not None:
        refuse_existing(out, overwrite)
    typer.echo(write_report(source, out or source.with_name("report.html")))
