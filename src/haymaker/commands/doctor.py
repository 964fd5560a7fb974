"""haymaker doctor: what this machine has, and what can be done with a model."""

from typing import Annotated, Any

import typer

from haymaker.commands import options as flag
from haymaker.commands.diagnosis import of_extras, of_machine, of_model, of_packaged
from haymaker.commands.output import show_json, show_rows, show_values


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    *,
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Also say what can be done with it.")] = None,
    dtype: flag.Dtype = "auto",
    json: flag.Json = False,
) -> None:
    """Say what is installed, what the machine computes well, and whether a model can be read, trained, extended."""
    found: dict[str, Any] = {"machine": of_machine(), "extras": of_extras(), "packaged": of_packaged()}
    if model is not None:
        found["model"] = of_model(model, dtype)
    if json:
        show_json(found)
    else:
        show_values(found.pop("machine"), False)
        for rows in found.values():
            typer.echo()
            show_rows([{key: plain(value) for key, value in row.items()} for row in rows], list(rows[0]))
    if not all(row["verdict"] for row in found.get("model", [])):
        raise typer.Exit(1)


def plain(value: Any) -> Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
