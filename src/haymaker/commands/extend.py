"""haymaker extend: a plain checkpoint with a longer context, for other libraries."""

from typing import Annotated

import typer

from haymaker.commands import options as flag
from haymaker.commands.output import fresh_folder, show_values
from haymaker.config import Extend
from haymaker.console import bar
from haymaker.errors import ConfigError
from haymaker.models.names import MODEL_FILES


def register(app: typer.Typer) -> None:
    app.command("extend")(extend)


def extend(
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A packaged name, a folder, a GGUF file or a Hub id.")],
    out: flag.OutFolder,
    length: Annotated[int | None, typer.Option("--length", help="Tokens that the model shall read.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="ntk, theta, linear or yarn.  [default: ntk]")] = None,
    theta: Annotated[float | None, typer.Option("--theta", help="The RoPE base; ntk computes one.")] = None,
    keep_window: Annotated[
        bool | None, typer.Option("--keep-window/--open-window", help="Leave or remove a sliding window.")
    ] = None,
    adapter: flag.Adapter = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Write a plain checkpoint: extended, an adapter merged, read by others as the same function."""
    if length is None and adapter is None:
        raise ConfigError("--length: give the tokens that the model shall read, or an --adapter, which brings its own")
    values = {"length": length, "method": method, "theta": theta, "keep_window": keep_window}
    wanted = None if length is None else Extend(**values)
    with fresh_folder(out, overwrite, (*MODEL_FILES, "probe.json"), reading=(model, adapter)) as folder:
        import torch

        from haymaker.models.checkpoint import STEPS, write_checkpoint

        with bar("steps", STEPS, f"{model}: float32 on cpu, {torch.get_num_threads()} threads") as advance:
            record = write_checkpoint(model, folder, wanted, adapter, on_progress=advance)
    show_values({"out": str(out), "context": record["context"], "base": record["base"]}, json)
