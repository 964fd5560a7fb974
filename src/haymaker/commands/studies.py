"""haymaker study plan | run, and report; the other commands of a study: study_cells.py. No torch."""

import signal
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from haymaker.commands import study_cells
from haymaker.commands.boundary import FAILED_ROWS
from haymaker.commands.options import Device, Json, Overwrite, Set
from haymaker.commands.output import declare, declare_folder, show_json, show_made, show_table
from haymaker.commands.study_opened import Only, Opened, Out, StoreFolder, Study, counts
from haymaker.commands.study_plan import Priced, cell_rows, show_cells, show_page
from haymaker.commands.study_table import watched
from haymaker.console import named, note
from haymaker.errors import ConfigError, OutputError
from haymaker.file_reading import read_json_if_there
from haymaker.study import Plan, Summary, execute
from haymaker.study.config import StudyConfig
from haymaker.study.costs import Prediction, fitting, predictions, requests
from haymaker.study.engine import told_of
from haymaker.study.power import separable
from haymaker.study.runners import open_runner
from haymaker.study.store import REMEDY
from haymaker.study.survey import Standing, differing

app = typer.Typer(no_args_is_help=True, help="Plan, run and inspect a whole study; finished cells are never run again.")

MOST_NAMED = 4  # keys of a config that differ
MaxHours = Annotated[
    float | None, typer.Option("--max-hours", min=0, help="As many cells as take no more than that, as predicted.")
]


def register(commands: typer.Typer) -> None:
    study_cells.register(app)
    commands.add_typer(app, name="study")
    commands.command("report")(report)


@app.command("plan")
def plan_command(
    *,
    study: Study,
    overrides: Set = None,
    out: Out = None,
    store: StoreFolder = None,
    only: Only = None,
    max_hours: MaxHours = None,
    device: Device = None,
    price: Annotated[float | None, typer.Option(min=0, help="Dollars an hour of the device.")] = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", hidden=True)] = False,  # a plan runs nothing as it is
    json: Json = False,
) -> None:
    """Show by stage what is done and missing, and what the rest will take: hours, memory, storage, cost.

    Cells are done, missing (would run), failed, running, waiting for others, or absent (no model or file).
    """
    opened = Opened(study, overrides, out, store, only).refuse_hopeless()
    show_plan(opened, opened.priced(device, price), max_hours, "json" if json else "cells" if cells else "page")


def show_plan(opened: Opened, priced: Priced, max_hours: float | None, form: str) -> None:
    """The plan as a page, a list of cells, or JSON."""
    standings = opened.survey().all()
    found = predictions(opened.costs(priced.machine), standings)
    if max_hours is not None:
        fits = fitting_now(opened.plan, standings, found, max_hours)
        standings = {name: standing for name, standing in standings.items() if name in fits}
    rows = cell_rows(standings, found)
    if form == "json":
        where = {"device": priced.machine.name, "workers": priced.workers, "dollars_an_hour": priced.dollars}
        show_table("cells", rows, study=opened.config.name, model=opened.config.model_name, **where)
    elif form == "cells":
        show_cells(rows)
        typer.echo(f"\n{len(rows)} cells: {counts(standings)}")
    else:
        settings = dict.fromkeys(setting for task in opened.config.tasks for setting in opened.config.settings_of(task))
        show_page(opened.config.name, opened.config.model_name, settings, rows, priced)
        for line in (*separable(opened.config), *built_first(opened.config, standings)):
            typer.echo(line)
        typer.echo(f"{len(rows)} cells: {counts(standings)}; --cells lists them")


def built_first(config: StudyConfig, standings: Mapping[str, Standing]) -> list[str]:
    """What nobody can know before rows are built; nothing once they are."""
    missing = [name for name, one in standings.items() if one.cell.stage.name == "data" and one.state == "missing"]
    if not missing:
        return []
    budget = config.evaluation.new_tokens
    answers = "" if budget is None else f", and every answer the {budget} tokens of evaluation.new_tokens"
    return [f"Known once rows are built: whether each fits its {config.length:,} tokens{answers}."]


def fitting_now(
    plan: Plan, standings: Mapping[str, Standing], found: Mapping[str, Prediction], hours: float
) -> list[str]:
    """The cells of a run of at most so many hours, finished ones included."""
    done = [name for name, standing in standings.items() if standing.state == "done"]
    left = fitting([name for name in standings if name not in done], found, plan, hours)
    return [name for name in standings if name in done or name in left]


@app.command("run")
def run_command(
    *,
    study: Study,
    overrides: Set = None,
    out: Out = None,
    store: StoreFolder = None,
    only: Only = None,
    max_hours: MaxHours = None,
    runner: Annotated[
        str | None, typer.Option(help="local, serial, slurm or ray; see `--set runner.KEY=VALUE`.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Most cells at a time.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and run nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make finished cells again.")] = False,
    page: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    json: Json = False,
) -> None:
    """Make every cell that is not finished, then results.json and report.html. The same command resumes.

    Exit code 3: finished, but for cells that failed.
    """
    given = [f"runner.name={runner}"] * (runner is not None) + [f"runner.workers={workers}"] * (workers is not None)
    opened = Opened(study, [*given, *(overrides or [])], out, store, only).refuse_hopeless()
    if dry_run:
        show_plan(opened, opened.priced(None, None), max_hours, "json" if json else "page")
        return
    declare_results(opened)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop is a Ctrl-C
    if overwrite:
        discard(opened)
    summary = run_cells(opened, max_hours)
    files = write_outputs(opened, summary, page)
    if json:
        show_json({**vars(summary), "complete": summary.complete, **files})
    else:
        tell(opened, summary, files)
    if not summary.complete:
        raise typer.Exit(FAILED_ROWS)


def run_cells(opened: Opened, max_hours: float | None) -> Summary:
    """Have the runner of the config make what is missing."""
    config, standings, machine = opened.config.runner, opened.survey().all(), opened.machine()
    found = predictions(opened.costs(machine), standings)
    plan = opened.plan
    if max_hours is not None:
        plan = plan.of_names(fitting_now(plan, standings, found, max_hours))
    runner = open_runner(config, requests(found, plan, machine.gpu), opened.store.root)
    seconds = {name: prediction.seconds for name, prediction in found.items()}
    with watched(opened.store, list(plan.cells), seconds, config.name == "serial") as listener:
        return execute(plan, opened.store, runner, listener, retries=config.retries)


def report(
    results: Annotated[Path, typer.Argument(help="results.json of a study, or the study's folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page.  [default: report.html beside it]")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw report.html from results.json."""
    from haymaker.report import write_report

    source = results / "results.json" if results.is_dir() else results
    page = out if out is not None else source.with_name("report.html")
    # The page beside the results is made of them, and made anew.
    declare(page, overwrite=overwrite or (out is None and is_page(page)), reading=(source,))
    show_made(write_report(source, page), json)


def discard(opened: Opened) -> None:
    """Remove everything that the store holds of this plan's cells."""
    keys = set(opened.survey().keys().values())
    for key, path in list(opened.store.entries()):
        if key in keys:
            opened.store.remove(path)


def declare_results(opened: Opened) -> None:
    """Refuse a folder with another study's results, before anything runs. Raises DataError where they are broken."""
    results, page = opened.out / "results.json", opened.out / "report.html"
    finished = all(standing.state == "done" for standing in opened.survey().all().values())
    with suppress(OutputError) if finished else nullcontext():  # it may lie on a read-only disk
        declare_folder(opened.out, overwrite=True)
        declare(results, overwrite=True)
        declare(page, overwrite=is_page(page))
    found = read_json_if_there(results, "give another --out, or delete it")
    name = found["meta"].get("name") if isinstance(found, dict) and isinstance(found.get("meta"), dict) else None
    if found is not None and name != opened.config.name:
        raise ConfigError(f"{results} is not of study {opened.config.name!r} but of {name!r}; give another --out")
    if found is not None and (told := changed_since(found["meta"].get("config"), opened.config)):
        note(f"{results} is of another config ({told}); this run replaces it. To keep both, stop it and give the run "
             f"--set name=OTHER --out FOLDER --store {opened.store.root}", style="yellow")  # fmt: skip


def changed_since(before: Any, config: StudyConfig) -> str:
    """What of the config that made earlier results is another one now; empty where nothing is."""
    with suppress(ConfigError, TypeError, KeyError):  # keys that came with a later version have their defaults
        train = {key: value for key, value in before["train"].items() if key != "seed"}  # a study gives it itself
        before = StudyConfig(**{**before, "train": train}).of_numbers
    found = differing(before if isinstance(before, dict) else {}, config.of_numbers)
    said = [f"{key} {was}, now {now}" for key, (was, now) in found.items()]
    return "; ".join(said[:MOST_NAMED]) + (f"; and {len(said) - MOST_NAMED} more" if said[MOST_NAMED:] else "")


def is_page(path: Path) -> bool:
    """Whether a file is a report, which may be drawn again."""
    return path.is_file() and b"Haymaker</title>" in path.read_bytes()


def write_outputs(opened: Opened, summary: Summary, page: bool) -> dict[str, str]:
    """results.json of all finished cells, also after failures and of what was not asked for, and its report;
    nothing where nothing was measured."""
    from haymaker.study.tables import collect, same_numbers, write_results

    results, drawn = opened.out / "results.json", opened.out / "report.html"
    tables = collect(opened.config, opened.whole, sound(opened, summary), opened.store, summary.ran)
    if not any(rows for name, rows in tables["tables"].items() if name != "timings"):
        return {}
    stands = same_numbers(results, tables) and (drawn.is_file() or not page)
    try:
        write_results(results, tables)
        if page:
            from haymaker.report import write_report

            write_report(results, drawn)
    except OutputError as error:
        if not stands:
            raise
        note(f"{error}; {opened.out} holds these numbers already", style="yellow")
    return {"results": str(results)} | ({"report": str(drawn)} if page else {})


def sound(opened: Opened, summary: Summary) -> dict[str, Standing]:
    """How all cells of the study stand, but for those that failed or are not as they were made, and what reads them."""
    standings, wrong = opened.survey(opened.whole).all(), set(summary.failed)
    for name in standings.keys() - opened.plan.cells.keys():  # this run has not looked at them
        one = standings[name]
        if one.state == "done" and (problems := opened.store.problems(str(one.key), thorough=False)):
            note(f"left out {name}: {told_of(problems, opened.config.name)}", style="yellow")
            wrong.add(name)
    refused = {reader for name in wrong for reader in (name, *opened.whole.readers(name))}
    return {name: one for name, one in standings.items() if name not in refused}


def tell(opened: Opened, summary: Summary, files: Mapping[str, str]) -> None:
    """How the run ended, for people."""
    done, standings = len(summary.ran) + len(summary.kept), opened.survey().all()
    note(f"{done} of {len(opened.plan.cells)} cells finished: {len(summary.ran)} made now, {len(summary.kept)} before")
    for line in left_out(opened, [standings[name] for name in summary.ran]):
        note(line, style="yellow")
    for name, message in summary.failed.items():
        record = opened.store.failure_path(str(standings[name].key))
        note(f"failed {name}: {message}" + (f" (traceback: {record})" if record.is_file() else ""))
    if told := blocked(summary.blocked):
        note(told)
    if not files:
        note(f"nothing was measured, so no results are written{' over those of another run' * opened.has_results}")
    for file in files.values():
        typer.echo(file)


def left_out(opened: Opened, made: Iterable[Standing]) -> list[str]:
    """Rows that `failed_rows: skip` left out of datasets that were made now, a line for each."""
    lines = []
    for one in made:
        if one.cell.stage.name == "data":
            told = read_json_if_there(opened.store.output(str(one.key)) / "manifest.json", REMEDY) or {}
            if failed := told.get("failed"):
                rows, why = told["recipe"]["rows"], failed[0]["reason"]
                lines.append(f"{one.cell.name}: {len(failed)} of {rows} rows are left out; the first one: {why}")
    return lines


def blocked(causes: Mapping[str, str]) -> str:
    """One line for all cells that could not run; empty without any."""
    names = list(causes)
    if len(names) < 2:
        return "".join(f"blocked {name}: needs {causes[name]}" for name in names)
    return f"blocked, {len(names)} cells that need what failed: {named(names)}"
