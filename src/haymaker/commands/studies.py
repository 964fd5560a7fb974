"""haymaker study plan | run | status | log | why | verify | gc, and report. Nothing that this imports imports torch."""

import signal
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer

from haymaker.commands.boundary import FAILED_ROWS, FAILURE
from haymaker.commands.options import Json, Overwrite, Set
from haymaker.commands.output import declare, declare_folder, show_json, show_rows
from haymaker.commands.study_plan import Priced, cell_rows, show_cells, show_page
from haymaker.commands.study_table import watched
from haymaker.config import load_config
from haymaker.console import note
from haymaker.errors import ConfigError, OutputError
from haymaker.files import read_json_if_there
from haymaker.study import Plan, Store, StudyConfig, Summary, execute, plan_study
from haymaker.study.costs import Costs, Machine, Prediction, fitting, machine_of, predictions, requests
from haymaker.study.power import separable
from haymaker.study.refusals import refuse_hopeless
from haymaker.study.runners import open_runner
from haymaker.study.runners.sending import last_attempt, log_path
from haymaker.study.survey import (
    Broken,
    Standing,
    Survey,
    check_name,
    dated_ahead_of,
    find_broken,
    find_garbage,
    remove_garbage,
    why,
)

PACKAGED = Path(__file__).parents[1] / "studies"

app = typer.Typer(no_args_is_help=True, help="Plan, run and inspect a whole study; finished cells are never run again.")

Study = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or a packaged one: miniature, smollm2.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where results go.  [default: runs/<name of the study>]")]
GARBAGE = ("MiB", "cell", "path")
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATTERN", help="Cells called so, as 'train/*/real', and what they read."),
]
MaxHours = Annotated[
    float | None, typer.Option("--max-hours", min=0, help="As many cells as take no more than that, as predicted.")
]
StoreFolder = Annotated[Path | None, typer.Option("--store", help="A store to share.  [default: <out>/store]")]


def register(commands: typer.Typer) -> None:
    commands.add_typer(app, name="study")
    commands.command("report")(report)


class Opened:
    """A study file read and planned, with its folder and store."""

    def __init__(
        self, study: str, overrides: list[str] | None, out: Path | None, store: Path | None, only: Only = None
    ) -> None:
        self.config = load_config(find_study(study), StudyConfig, overrides)
        self.whole = plan_study(self.config)
        self.plan = self.whole.only(only) if only else self.whole
        self.out = out or Path("runs") / self.config.name
        self.store = Store(store or self.out / "store")

    def survey(self) -> Survey:
        return Survey(self.plan, self.store)

    def refuse_hopeless(self) -> "Opened":
        """Itself, unless it must fail after hours: see there."""
        refuse_hopeless(self.config, self.plan, self.survey())
        return self

    def costs(self, machine: Machine) -> Costs:
        """What the cells take on a machine."""
        return Costs(self.whole, self.config.model, machine, self.config.train.rank)

    def priced(self, device: str | None, price: float | None) -> Priced:
        machine = machine_of(device, self.config.runner.threads or 1)
        return Priced(machine, machine.device.dollars if price is None else price, self.config.runner.workers or 1)


def find_study(study: str) -> Path:
    """A path, or the file of a packaged study of that name."""
    path, packaged = Path(study), PACKAGED / f"{study}.yaml"
    if path.is_file() or not packaged.is_file():
        if not path.is_file():
            names = ", ".join(sorted(found.stem for found in PACKAGED.glob("*.yaml")))
            raise ConfigError(
                f"{study}: no such study file; give the path of a YAML file, or a packaged study: {names}"
            )
        return path
    return packaged


@app.command("plan")
def plan_command(
    *,
    study: Study,
    overrides: Set = None,
    out: Out = None,
    store: StoreFolder = None,
    only: Only = None,
    max_hours: MaxHours = None,
    device: Annotated[str | None, typer.Option(help="a100, h100, h200 or cpu.  [default: the device at hand]")] = None,
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
        show_json(rows)
    elif form == "cells":
        show_cells(rows)
        typer.echo(f"\n{len(rows)} cells: {counts(standings)}")
    else:
        settings = dict.fromkeys(setting for task in opened.config.tasks for setting in opened.config.settings_of(task))
        show_page(opened.config.name, opened.config.model_name, settings, rows, priced)
        for line in separable(opened.config):
            typer.echo(line)
        typer.echo(f"{len(rows)} cells: {counts(standings)}; --cells lists them")


def fitting_now(
    plan: Plan, standings: Mapping[str, Standing], found: Mapping[str, Prediction], hours: float
) -> list[str]:
    """The cells of a run of at most so many hours, finished ones included."""
    done = [name for name, standing in standings.items() if standing.state == "done"]
    left = fitting([name for name in standings if name not in done], found, plan, hours)
    return [name for name in standings if name in done or name in left]


@app.command("status")
def status_command(
    *, study: Study, overrides: Set = None, out: Out = None, store: StoreFolder = None, json: Json = False
) -> None:
    """Count cells by state, and name those that failed or are running."""
    opened = Opened(study, overrides, out, store)
    standings = opened.survey().all()
    notable = {name: s.note for name, s in standings.items() if s.state in ("failed", "running", "absent")}
    if json:
        states = Counter(standing.state for standing in standings.values())
        show_json({"study": opened.config.name, "cells": dict(states), "notable": notable, "out": str(opened.out)})
        return
    typer.echo(f"{opened.config.name}: {len(standings)} cells, {counts(standings)}")
    for name, message in notable.items():
        typer.echo(f"  {standings[name].state} {name}{': ' if message else ''}{message}")
    for file in ("results.json", "report.html"):
        if (opened.out / file).exists():
            typer.echo(f"  {opened.out / file}")


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
    config, standings = opened.config.runner, opened.survey().all()
    elsewhere = config.name in ("slurm", "ray")
    machine = machine_of(config.device or ("a100" if elsewhere else None), config.threads or 1)
    found = predictions(opened.costs(machine), standings)
    plan = opened.plan
    if max_hours is not None:
        plan = plan.only(fitting_now(plan, standings, found, max_hours))
    runner = open_runner(config, requests(found, plan, machine.gpu), opened.store.root)
    seconds = {name: prediction.seconds for name, prediction in found.items()}
    with watched(opened.store, list(plan.cells), seconds, config.name == "serial") as listener:
        return execute(plan, opened.store, runner, listener, retries=config.retries)


@app.command("log")
def log_command(
    *,
    study: Study,
    cell: Annotated[str, typer.Argument(help="A cell's name, as `plan --cells` shows it.")],
    overrides: Set = None,
    out: Out = None,
    store: StoreFolder = None,
    every: Annotated[bool, typer.Option("--all", help="All attempts, not the last one alone.")] = False,
    json: Json = False,
) -> None:
    """Show what a cell's process said when it was last made, and where that is kept."""
    survey = Opened(study, overrides, out, store).survey()
    check_name(survey.plan, cell)
    standing = survey.all()[cell]
    path = log_path(survey.store, standing.key or survey.keys().get(cell, ""))
    if not path.is_file():
        raise ConfigError(f"{cell}: no log; it was not made yet, or by the runner `serial`, which says all to you")
    text = path.read_text(errors="replace") if every else last_attempt(path)
    if json:
        show_json({"cell": cell, "state": standing.state, "path": str(path), "text": text})
        return
    typer.echo(text.rstrip())
    note(str(path))


@app.command("why")
def why_command(
    *,
    study: Study,
    cell: Annotated[str, typer.Argument(help="A cell's name, as `plan` shows it.")],
    overrides: Set = None,
    out: Out = None,
    store: StoreFolder = None,
    json: Json = False,
) -> None:
    """Say what a cell waits for, or which parameter or input differs from the nearest finished one."""
    told = why(Opened(study, overrides, out, store).survey(), cell)
    if json:
        show_json(told)
        return
    typer.echo(f"{cell}: {told['state']}{': ' + told['note'] if told['note'] else ''}")
    for source, state in told.get("waits_for", {}).items():
        typer.echo(f"  {state} {source}")
    if near := told.get("nearest"):
        typer.echo(f"  nearest finished cell: {near['cell']} ({near['key'][:12]}, {near['started'][:19]})")
        for key, (before, after) in told["changed"].items():
            typer.echo(f"  {key}: {before} -> {after}")
    elif "nearest" in told:
        typer.echo("  no other finished cell of its stage to compare with")


@app.command("verify")
def verify_command(
    *,
    study: Study,
    overrides: Set = None,
    out: Out = None,
    store: StoreFolder = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is broken: the next run makes it again.")
    ] = False,
    json: Json = False,
) -> None:
    """Hold every byte of the finished cells against the record of when they were made. Exit code 1 if one differs."""
    opened = Opened(study, overrides, out, store)
    survey = opened.survey()
    broken, ahead = find_broken(survey), dated_ahead_of(survey)
    done = sum(standing.state == "done" for standing in survey.standings.values())
    for entry in broken if repair else ():
        opened.store.remove(opened.store.output(entry.key).parent)
    if json:
        show_json({"cells": done, "broken": [vars(entry) for entry in broken], "removed": repair, "dated_ahead": ahead})
    else:
        tell_broken(broken, ahead, f"{done} finished cells are as they were made", repair)
    if broken and not repair:
        raise typer.Exit(FAILURE)


def tell_broken(broken: list[Broken], ahead: list[str], sound: str, repaired: bool) -> None:
    """A line per problem, for people."""
    for entry in broken:
        typer.echo(f"{entry.cell}: {'; '.join(entry.problems)}")
    for told in ahead:
        note(told, style="yellow")
    if not broken:
        typer.echo(sound)
    else:
        note(
            f"{len(broken)} cells " + ("removed; run the study again" if repaired else "differ; --repair removes them")
        )


@app.command("gc")
def gc_command(
    *,
    study: Study,
    overrides: Set = None,
    out: Out = None,
    store: StoreFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: Json = False,
) -> None:
    """Remove cells that neither this study nor another one that ran in the store refers to."""
    survey = Opened(study, overrides, out, store).survey()
    garbage = find_garbage(survey)
    if not dry_run:
        remove_garbage(survey, garbage)
    if json:
        show_json({"removed": not dry_run, "entries": [{**vars(g), "path": str(g.path)} for g in garbage]})
        return
    show_rows([{"MiB": entry.bytes / 2**20, "cell": entry.cell, "path": entry.path} for entry in garbage], GARBAGE)
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{len(garbage)} entries, {sum(g.bytes for g in garbage) / 2**20:.2f} MiB, {verb}")


def report(
    results: Annotated[Path, typer.Argument(help="results.json of a study, or the study's folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page.  [default: report.html beside it]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw report.html from results.json."""
    from haymaker.report import write_report

    source = results / "results.json" if results.is_dir() else results
    page = out if out is not None else source.with_name("report.html")
    # The page beside the results is made of them, and made anew.
    declare(page, overwrite=overwrite or (out is None and is_page(page)), reading=(source,))
    typer.echo(write_report(source, page))


def counts(standings: Mapping[str, Standing]) -> str:
    found = Counter(standing.state for standing in standings.values())
    return ", ".join(f"{number} {state}" for state, number in found.items())


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


def is_page(path: Path) -> bool:
    """Whether a file is a report, which may be drawn again."""
    return path.is_file() and b"Haymaker</title>" in path.read_bytes()


def write_outputs(opened: Opened, summary: Summary, page: bool) -> dict[str, str]:
    """results.json of all finished cells, also after failures, and the report made of it."""
    from haymaker.report import write_report
    from haymaker.study.tables import collect, same_numbers, write_results

    results, drawn = opened.out / "results.json", opened.out / "report.html"
    refused = summary.failed.keys() | summary.blocked.keys()
    standings = {name: found for name, found in opened.survey().all().items() if name not in refused}
    tables = collect(opened.config, opened.plan, standings, opened.store, summary.ran)
    try:
        write_results(results, tables)
        if page:
            write_report(results, drawn)
    except OutputError as error:
        if not same_numbers(results, tables):
            raise
        note(f"{error}; it holds these numbers already", style="yellow")
    return {"results": str(results)} | ({"report": str(drawn)} if page else {})


def tell(opened: Opened, summary: Summary, files: Mapping[str, str]) -> None:
    """How the run ended, for people."""
    done, standings = len(summary.ran) + len(summary.kept), opened.survey().all()
    note(f"{done} of {len(opened.plan.cells)} cells finished: {len(summary.ran)} made now, {len(summary.kept)} before")
    for name, message in summary.failed.items():
        record = opened.store.failure_path(str(standings[name].key))
        note(f"failed {name}: {message}" + (f" (traceback: {record})" if record.is_file() else ""))
    for name, causes in summary.blocked.items():
        note(f"blocked {name}: needs {causes}")
    for file in files.values():
        typer.echo(file)
