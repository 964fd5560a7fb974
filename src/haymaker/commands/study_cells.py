"""haymaker study status | log | why | verify | gc: what a study's store holds. No torch."""

from collections import Counter
from typing import Annotated

import typer

from haymaker.commands.boundary import FAILURE
from haymaker.commands.options import Json, Set
from haymaker.commands.output import show_json, show_rows
from haymaker.commands.study_opened import Opened, Out, StoreFolder, Study, counts
from haymaker.console import note
from haymaker.errors import ConfigError
from haymaker.study.runners.sending import last_attempt, log_path
from haymaker.study.survey import Broken, check_name, dated_ahead_of, find_broken, find_garbage, remove_garbage, why

GARBAGE = ("MiB", "cell", "path")


def register(study: typer.Typer) -> None:
    commands = {
        "status": status_command, "log": log_command, "why": why_command, "verify": verify_command, "gc": gc_command
    }  # fmt: skip
    for name, command in commands.items():
        study.command(name)(command)


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
    key = standing.key or survey.keys().get(cell)  # none where what it reads is not made
    path = log_path(survey.store, key) if key else None
    if path is None or not path.is_file():
        raise ConfigError(f"{cell}: no log; it was not made yet, or by the runner `serial`, which says all to you")
    text = path.read_text(errors="replace") if every else last_attempt(path)
    if json:
        show_json({"cell": cell, "state": standing.state, "path": str(path), "text": text})
        return
    typer.echo(text.rstrip())
    note(str(path))


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
