"""haymaker causal-map: what every head does for the gold answer."""

from pathlib import Path
from typing import Annotated

import typer

from haymaker.commands.common import Adapter, Data, ExtendTo, Json, Model, Overwrite, Rows, fresh_file, print_json, show
from haymaker.commands.models import open_data, open_model
from haymaker.console import bar
from haymaker.errors import ConfigError


def register(app: typer.Typer) -> None:
    app.command("causal-map")(causal_map)


def causal_map(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The file of scores to write (.safetensors).")],
    adapter: Adapter = None,
    extend: ExtendTo = None,
    donor: Annotated[
        Path | None, typer.Option("--donor", help="An adapter whose head outputs are written in, instead of zeros.")
    ] = None,
    scope: Annotated[
        str, typer.Option(help="Positions that are edited: last, decode, last+decode; or prompt, all (slow).")
    ] = "last+decode",
    tokens_at_once: Annotated[int, typer.Option("--tokens-at-once", min=1, help="Rows of one forward.")] = 1024,
    rows: Rows = None,
    top: Annotated[int, typer.Option(min=1, help="How many heads to print.")] = 10,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Measure what the gold answer's log-probability loses without each single head (or gains by a donor's)."""
    if out.suffix == ".json":
        raise ConfigError(f"--out {out}: a summary in .json is written beside the scores; give a name in .safetensors")
    with fresh_file(out, overwrite) as file:
        dataset, lm = open_data(data, rows), open_model(model, adapter, extend)
        lender = open_model(model, donor, extend) if donor else None
        from haymaker.interventions.causal import causal_map as map_heads

        with bar("examples", len(dataset)) as advance:
            scores = map_heads(lm, dataset, lender, scope, tokens_at_once, advance)
        scores.save(file)
    best = {str(head): float(scores.mean[head]) for head in scores.top(top)}
    if json:
        print_json({"out": str(out), "metric": scores.metric, "n": len(scores.values), "top": best})
    else:
        show({f"head {name}": value for name, value in best.items()} | {"out": str(out)}, False)
