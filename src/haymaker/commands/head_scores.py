"""haymaker heads | compare | attribute | causal-map: a number for every head of a model, in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.choices import DETECTORS
from haymaker.commands import head_files
from haymaker.commands import options as flag
from haymaker.commands.options import inputs_of, loading, stop_text
from haymaker.commands.output import fresh_file, kept_beside, show, show_json, show_rows, show_table, show_values
from haymaker.commands.own_prompt import Given, data_renamed, reads_data
from haymaker.errors import ConfigError
from haymaker.study import stages
from haymaker.study.stage_inputs import model_of

if TYPE_CHECKING:
    from haymaker.heads.scores import HeadScores

Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help=f"{', '.join(DETECTORS)}; may be repeated: one pass serves all, and each gets a file.  [default: copy]",
    ),
]
OwnAnswers = Annotated[
    bool,
    typer.Option(
        "--own-answers",
        help="Read the model's own greedy answers, not the gold ones.  [default: for copy_wu2024 alone]",
    ),
]
Donor = Annotated[
    Path | None, typer.Option("--donor", help="An adapter whose head outputs are written in, instead of zeros.")
]
Top = Annotated[int, typer.Option(min=1, help="How many heads to print.")]

LEFT_OUT = "bounds and stability, which need two examples that count"


def register(app: typer.Typer) -> None:
    app.command("heads")(heads)
    app.command("compare")(compare)
    app.command("attribute")(attribute)
    app.command("causal-map")(causal_map)


@reads_data
def heads(
    *,
    model: flag.Model,
    given: Given,
    out: flag.OutFile,
    metrics: Metrics = None,
    own_answers: OwnAnswers = False,
    file_format: head_files.FormatName = "haymaker",
    fraction: head_files.Fraction = 0.25,
    plot: head_files.Plot = None,
    kv_rule: flag.KVRule = "max",
    new_tokens: flag.NewTokens = None,
    stop: flag.Stop = "\\n",
    adapter: flag.Adapter = None,
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    rows: flag.Rows = None,
    top: Annotated[int, typer.Option(min=1, help="How many heads to print, and to list in a YAML file.")] = 10,
    batch: flag.Batch = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Score every head of a model for retrieval on a dataset, or on a prompt of your own."""
    from haymaker.heads.formats import rule_of

    mine = given.example()
    chosen = tuple(dict.fromkeys(metrics or ("copy",)))
    files = head_files.HeadFiles(out, chosen, file_format, top, rule_of(kv_rule), fraction, plot)
    params = stages.HeadsParams(
        **loading(extend, dtype), metrics=chosen, answer="own" if own_answers else None, rows=rows,
        new_tokens=new_tokens, stop=stop_text(stop),
    )  # fmt: skip
    reading = (model, *given.files, adapter)
    with (
        data_renamed(given.data, given.columns) as data,
        kept_beside(out, overwrite) as (keep, replace),
        fresh_file(*files.written, overwrite=replace, reading=reading) as file,
    ):
        inputs = inputs_of(model=model, data=data, adapter=adapter)
        found = stages.head_scores(params, inputs, mine, keep, batch)
        files.write(found, model_of(inputs, params), file.parent)
    show_heads(found, files, params.threshold, json)


def show_heads(found: "dict[str, HeadScores]", files: head_files.HeadFiles, threshold: float, json: bool) -> None:
    """The best heads of each file, and what its map is like: active heads with bounds over examples, sparsity (Hoyer),
    reliability over halves of the examples, how many of the top stay there. Raises DataError for scores of no example,
    once the others are told."""
    from haymaker.heads.nulls import map_row

    told = []
    for name, scores in found.items():
        about = paths_of(files.scores[name], files.plots.get(name))
        about |= {"metric": scores.metric, "n": len(scores.values), "counted": int(scores.counted.sum())}
        about |= {name: value for name, value in map_row(scores, threshold, files.top).items() if name not in about}
        told.append(about | {"top": best_of(scores, files.top)})
        if not json:
            show_values(best_told(scores, files.top) | about, False, LEFT_OUT)
    if json:
        show_scores(list(found.values()), told)
    for scores in found.values():
        scores.top(1)


def show_scores(found: "list[HeadScores]", told: list[dict[str, Any]]) -> None:
    """The files as rows, `scores`; of a single one the values stand at the top too."""
    model = {name: found[0].provenance.get(name) for name in ("model", "adapter", "device", "dtype")}
    show_table("scores", told, **model, **(told[0] if len(told) == 1 else {}))


def best_of(scores: "HeadScores", top: int) -> dict[str, float]:
    """The best heads, as far as they score above 0, and their means."""
    return {str(head): float(scores.mean[head]) for head in scores.best(top)}


def best_told(scores: "HeadScores", top: int) -> dict[str, Any]:
    """The same for people: also that no other head is above 0, and how many have no score."""
    best, scored = best_of(scores, top), int((scores.counts > 0).sum())
    lines: dict[str, Any] = {f"head {name}": value for name, value in best.items()}
    if len(best) < min(top, scored):
        lines[f"{'other' if best else 'all'} heads"] = "none above 0"
    if 0 < scored < scores.counts.size:
        unseen = scores.counts.size - scored
        lines["without a score"] = f"{unseen} of {scores.counts.size} heads: they never see the needle"
    return lines


def paths_of(out: Path, plot: Path | None) -> dict[str, Any]:
    return {"out": str(out)} | ({"plot": str(plot)} if plot else {})


def compare(
    *,
    first: Annotated[
        Path,
        typer.Argument(
            help="Head scores: of `haymaker heads`, or Wu JSON, QRHead YAML, Duo TSV; or a folder of answers, "
            "as `eval` and `score --out` write it."
        ),
    ],
    reference: Annotated[Path, typer.Argument(help="What it is compared with, of the same kind.")],
    metric: Annotated[str | None, typer.Option("--metric", help="Of answers.  [default: the first's headline]")] = None,
    threshold: flag.Threshold = 0.0,
    k: Annotated[int, typer.Option(min=1, help="Top heads whose overlap is counted.")] = 10,
    kv_rule: flag.KVRule = "max",
    query_heads: Annotated[
        int | None, typer.Option("--query-heads", min=1, help="Query heads a layer, for a list beside KV heads.")
    ] = None,
    json: flag.Json = False,
) -> None:
    """Compare two files of head scores: cosine, rank correlation, recall, subset, overlap, and their maps. Or the
    answers of two evaluations to the same rows: the difference with its bounds, and a paired test."""
    from haymaker.evaluation import differences

    if differences.is_evaluation(first) or differences.is_evaluation(reference):
        show_values(differences.difference(differences.load(first), differences.load(reference), metric), json)
        return
    if metric:
        raise ConfigError("--metric: it goes with answers of two evaluations; head scores have their own in their file")
    from haymaker.heads.compare import side_by_side
    from haymaker.study.store import plain

    params = stages.CompareParams(threshold=threshold, k=k, kv_rule=kv_rule, query_heads=query_heads)
    own, other, row = stages.compared(params, inputs_of(heads=first, reference=reference))
    if json:
        best = {"top": [str(head) for head in own.top(k)], "top_reference": [str(head) for head in other.top(k)]}
        show_json(plain(row | best))
    else:
        show_comparison(row)
        show(side_by_side(own, other, (first.name, reference.name), threshold))


def show_comparison(row: dict[str, Any]) -> None:
    """A line per measure with what layers alone would give, and what the two maps are like."""
    from haymaker.heads.compare import MEASURES

    columns = {
        "value": "",
        "low": "_low",
        "high": "_high",
        "by chance": "_null",
        "percentile": "_percentile",
        "p": "_p",
    }
    found = [{"": name} | {what: row[name + end] for what, end in columns.items()} for name in MEASURES]
    bounded = any(one["low"] == one["low"] for one in found)
    show_rows(found, ["", *(what for what in columns if bounded or what not in ("low", "high"))])
    told = {f"{name}{end}" for name in MEASURES for end in columns.values()}
    show_values({k: v for k, v in row.items() if k not in told}, False, LEFT_OUT)


@reads_data
def attribute(
    *,
    model: flag.Model,
    given: Given,
    out: flag.OutFile,
    plot: head_files.Plot = None,
    adapter: flag.Adapter = None,
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    donor: Donor = None,
    scope: flag.Scope = "last+decode",
    rows: flag.Rows = None,
    top: Top = 10,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Estimate every head's effect on the gold answer's log-probability from one forward and one backward pass a row.

    Rows are read one by one, as a row's activations are kept for its backward pass: there is no --batch.
    """
    params = stages.EffectsParams(**loading(extend, dtype), scope=scope, rows=rows)
    reading = (model, *given.files, adapter, donor)
    with (
        given.folder() as data,
        kept_beside(out, overwrite) as (keep, replace),
        fresh_file(*files_of_scores(out, plot), overwrite=replace, reading=reading) as file,
    ):
        inputs = inputs_of(model=model, data=data, adapter=adapter, donor=donor)
        scores = stages.attribution_effects(params, inputs, keep)
        scores.save(file)
        head_files.draw(scores, plot, top, file.parent)
    show_effects(scores, paths_of(out, plot), top, json)


@reads_data
def causal_map(
    *,
    model: flag.Model,
    given: Given,
    out: flag.OutFile,
    plot: head_files.Plot = None,
    adapter: flag.Adapter = None,
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    donor: Donor = None,
    scope: flag.Scope = "last+decode",
    tokens_at_once: Annotated[
        int | None,
        typer.Option("--tokens-at-once", min=1, help="Rows of one forward.  [default: at most 1024, as memory holds]"),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Most heads of one forward.  [default: as --tokens-at-once]")
    ] = None,
    rows: flag.Rows = None,
    top: Top = 10,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Measure what the gold answer's log-probability loses without each single head (or gains by a donor's)."""
    params = stages.CausalParams(**loading(extend, dtype), scope=scope, rows=rows, tokens_at_once=tokens_at_once)
    reading = (model, *given.files, adapter, donor)
    with (
        given.folder() as data,
        kept_beside(out, overwrite) as (keep, replace),
        fresh_file(*files_of_scores(out, plot), overwrite=replace, reading=reading) as file,
    ):
        inputs = inputs_of(model=model, data=data, adapter=adapter, donor=donor)
        scores = stages.causal_effects(params, inputs, keep, batch)
        scores.save(file)
        head_files.draw(scores, plot, top, file.parent)
    show_effects(scores, paths_of(out, plot), top, json)


def files_of_scores(out: Path, plot: Path | None) -> tuple[Path, ...]:
    from haymaker.heads.scores import HeadScores

    return (*HeadScores.files(out), *head_files.check_plot(plot, out))


def show_effects(scores: "HeadScores", paths: dict[str, Any], top: int, json: bool) -> None:
    """The heads with the largest effects."""
    if json:
        about = {"metric": scores.metric, "n": len(scores.values), "top": best_of(scores, top)}
        show_json(paths | about)
    else:
        show_values(best_told(scores, top) | paths, False)
