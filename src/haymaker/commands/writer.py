"""haymaker write | cache: texts of a language model for rows of files, and the answers that were paid for."""

from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.commands.boundary import FAILED_ROWS
from haymaker.commands.options import Columns, Json, Overwrite, Set, columns_of, values_of
from haymaker.commands.output import declare, fresh_file, show_json, show_made, show_values
from haymaker.config import Recipe, SplitName
from haymaker.console import bar, each, note
from haymaker.errors import ConfigError, DataError
from haymaker.file_reading import read_jsonl
from haymaker.files import remove, write_jsonl

if TYPE_CHECKING:
    from haymaker.realism.written import Asked, Written
    from haymaker.writing.client import Client
    from haymaker.writing.config import WriterConfig
    from haymaker.writing.writer import Failure

    Results = list[tuple[Asked, Written | Failure]]

ANY_SIZE = {"length": 2**20, "rows": 1}  # of a recipe: texts are written for datasets of every size
MODES = ("normal", "refresh", "offline", "read-only")
CacheFile = Annotated[Path, typer.Argument(metavar="CACHE", help="A cache of answers, as `haymaker write` keeps it.")]
cache_app = typer.Typer(help="Answers of a writer: stats, export, import.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.command("write")(write)
    app.add_typer(cache_app, name="cache")


def write(
    *,
    task: Annotated[str | None, typer.Option(help="mdqa, musique, summhay or qa.")] = None,
    source: Annotated[Path | None, typer.Option(help="Real rows, as `haymaker build` reads them.")] = None,
    columns: Columns = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write, for `build --set written=`.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with keys of a WriterConfig.")] = None,
    overrides: Set = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="A YAML file with keys of a Recipe: the dataset's own, say.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Number of rows. [default: all]")] = None,
    split: Annotated[str | None, typer.Option(help="train, dev or test: no two share an invented name.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where answers are kept. [default: --out with .sqlite]")] = None,
    mode: Annotated[
        str, typer.Option(help="normal; refresh: ask again; offline: ask nobody; read-only: keep nothing.")
    ] = "normal",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would ask and cost; ask nothing.")] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Have a language model write passages and questions for rows of a file (high concept realism).

    Interrupted, it goes on where it was: every answer is kept in the cache. Rows that could not be written are listed
    beside --out, in .failed.jsonl (exit code 3).
    """
    if out is None and not dry_run:
        raise ConfigError("--out: give the file to write")
    if mode not in MODES:
        raise ConfigError(f"--mode {mode}: expected {', '.join(MODES)}")
    kept = cache or (out.with_suffix(".sqlite") if out is not None and out.name else None)
    if out is not None and not dry_run:
        declare_written(out, kept, overwrite, (source, config, recipe))
    flags = {"task": task, "source": str(source) if source else None, "split": split}
    flags |= {"columns": columns_of(columns)}
    job = job_of(settings_of(config, overrides), recipe, flags, rows)
    if dry_run:
        print_estimate(job, None if mode == "refresh" else kept, json)
        return
    assert out is not None
    assert kept is not None
    results, client = run(job, kept, mode)
    save(out, results)
    report(out, results, client, json)


@dataclass(frozen=True)
class Job:
    """Which rows to write, how. `everything` are all rows of the source, whose passages are a haystack."""

    settings: "WriterConfig"
    wanted: list["Asked"]
    everything: list["Asked"]
    split: SplitName


def job_of(settings: "WriterConfig", path: Path | None, flags: dict[str, Any], rows: int | None) -> Job:
    """The first rows that the recipe's source gives, in the order that a build takes them."""
    from haymaker.tasks import to_write

    values: dict[str, Any] = dict(ANY_SIZE)
    values.update(values_of(path, None))
    values.update({key: value for key, value in flags.items() if value}, setting="high-high")
    recipe = Recipe(**values)
    everything = to_write(recipe)
    if rows is not None and rows > len(everything):
        raise ConfigError(f"--rows {rows}: {recipe.source} gives {len(everything)}; ask for fewer")
    return Job(settings, everything[:rows], everything, recipe.split)


def settings_of(config: Path | None, overrides: list[str] | None) -> "WriterConfig":
    """Defaults < file < --set."""
    from haymaker.writing.config import WriterConfig

    try:
        return WriterConfig(**values_of(config, overrides))
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}" if config else str(error)) from None


def run(job: Job, cache: Path, mode: Any) -> "tuple[Results, Client]":
    """Write the rows; what came of each, and the client that has counted what it took."""
    import asyncio

    from haymaker.writing.cache import Cache
    from haymaker.writing.client import Client
    from haymaker.writing.endpoint import Endpoint
    from haymaker.writing.writer import Writer, write_rows

    async def go() -> "tuple[Results, Client]":
        at_hand = nullcontext() if mode == "offline" else Endpoint(job.settings)
        with Cache(cache, mode) as answers, bar("rows written", len(job.wanted)) as advance:
            async with at_hand as endpoint:
                client = Client(job.settings, answers, endpoint)
                writer = Writer(job.settings, client, job.everything, job.split)
                return await write_rows(job.wanted, writer, client, advance), client

    return asyncio.run(go())


def declare_written(out: Path, cache: Path | None, overwrite: bool, reading: tuple[Path | None, ...]) -> None:
    """The rows, and those that failed, of which a list that this command left is replaced."""
    declare(out, overwrite=overwrite, reading=reading)
    failed = failed_beside(out)
    declare(failed, overwrite=overwrite or lists_failures(failed), reading=reading)
    if cache in (out, failed):
        raise ConfigError(f"--out {out}: the cache of answers has this name; give another --out, or --cache")


def lists_failures(path: Path) -> bool:
    """Whether a file is a list of rows that failed, as this command writes it."""
    from haymaker.writing.writer import Failure

    keys = {field.name for field in fields(Failure)}
    try:
        return all(set(row) == keys for _, row in read_jsonl(path))
    except DataError:
        return False


def save(out: Path, results: "Results") -> None:
    """The written rows, if there are any, and beside them those that failed, if there are any."""
    from haymaker.realism.written import save_written
    from haymaker.writing.writer import Failure

    failed = [result for _, result in results if isinstance(result, Failure)]
    written = [(asked.key, result) for asked, result in results if not isinstance(result, Failure)]
    with fresh_file(out, failed_beside(out), overwrite=True) as path:
        if written:
            save_written(path, written)
        if failed:
            write_jsonl(path.with_name(failed_beside(out).name), [asdict(failure) for failure in failed])
    if not failed:
        remove(failed_beside(out))


def failed_beside(out: Path) -> Path:
    """Where the rows that failed are listed."""
    return out.with_name(f"{out.stem}.failed.jsonl")


def report(out: Path, results: "Results", client: "Client", json: bool) -> None:
    """What came of the rows and what it cost; exit code 3 where some failed."""
    from haymaker.writing.writer import Failure

    reasons = Counter(result.reason for _, result in results if isinstance(result, Failure))
    counts, spend = client.counts, client.spend
    values = {
        "out": str(out),
        "rows": len(results),
        "written": len(results) - reasons.total(),
        "failed": reasons.total(),
        "reasons": dict(reasons.most_common()),
        "answers": counts.answers,
        "answers_from_cache": counts.replayed,
        "answers_by_status": dict(counts.statuses),
        "retries": counts.retries,
        "refused_as_too_fast": counts.refused,
        "dollars": round(spend.paid_dollars, 6),
        "dollars_of_cached": round(spend.replayed_dollars, 6),
    }
    if json:
        show_json(values)
    else:
        note(f"{values['written']} of {len(results)} rows written, {counts.answers} answers asked for, "
             f"{counts.replayed} from the cache, {spend.paid_dollars:.4f} dollars")  # fmt: skip
        if values["written"]:
            typer.echo(out)
    if reasons:
        for reason, count in reasons.most_common():
            note(f"{count} failed: {reason}", style="red")
        note(f"the rows that failed are listed in {failed_beside(out)}")
        raise typer.Exit(FAILED_ROWS)


def print_estimate(job: Job, cache: Path | None, json: bool) -> None:
    """What a run would ask for, with the answers that the cache has; nothing is sent or written."""
    import asyncio

    from haymaker.writing.cache import Cache
    from haymaker.writing.dry_run import DryRun
    from haymaker.writing.writer import Writer

    async def write_all(dry_run: DryRun) -> None:
        writer = Writer(job.settings, dry_run, job.everything, job.split)
        with bar("rows", len(job.wanted)) as advance:
            for asked in each(job.wanted, advance, "rows"):
                await writer.write(asked)

    known = Cache(cache, "read-only") if cache is not None and cache.exists() else nullcontext()
    with known as answers:
        dry_run = DryRun(job.settings, answers)
        asyncio.run(write_all(dry_run))
    show_values({"rows": len(job.wanted), **asdict(dry_run.estimate())}, json)


@cache_app.command()
def stats(path: CacheFile, json: Json = False) -> None:
    """Count the answers of a cache and their tokens."""
    from haymaker.writing.cache import Cache

    with Cache(path, "read-only") as cache:
        show_values(cache.statistics(), json)


@cache_app.command()
def export(
    path: CacheFile,
    out: Annotated[Path, typer.Option("--out", help="The jsonl file to write.")],
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write every answer as a line of JSON, in an order that the answers alone decide."""
    from haymaker.writing.cache import Cache

    with Cache(path, "read-only") as cache, fresh_file(out, overwrite=overwrite, reading=(path,)) as work:
        answers = cache.export(work)
        note(f"{answers} answers")
    show_made(out, json, answers=answers)


@cache_app.command("import")
def take_in(
    path: Annotated[Path, typer.Argument(metavar="CACHE", help="A cache of answers; made where there is none.")],
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `haymaker cache export` wrote.")],
    json: Json = False,
) -> None:
    """Add exported answers to a cache; answers that are there already stay."""
    from haymaker.writing.cache import Cache, read_exported

    entries = read_exported(source)  # before a cache is made: a file that is refused leaves nothing behind
    with Cache(path) as cache:
        added, known = cache.add(entries)
    note(f"{added} answers added, {known} were there")
    show_made(path, json, added=added, known=known)
