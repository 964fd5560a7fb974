"""What `haymaker heads` writes: a file of scores for each metric, in its own format or another's, and a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haymaker.errors import ConfigError

if TYPE_CHECKING:
    from haymaker.heads.formats import Rule
    from haymaker.heads.scores import HeadScores
    from haymaker.models.load import LanguageModel

FormatName = Annotated[
    str,
    typer.Option("--format", help="haymaker (safetensors), wu (JSON), qrhead (YAML), duo (TSV), csv or split (JSON)."),
]
Fraction = Annotated[
    float, typer.Option("--fraction", min=0, max=1, help="Share of the KV heads that retrieve, of the format split.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="A map of the heads too: .html, .png or .svg.")
]
PICTURES = (".html", ".png", ".svg")
OF_KV_HEADS = ("duo", "split")


@dataclass(frozen=True)
class HeadFiles:
    """Where scores go: `out` itself for one metric alone, else a file each; pictures likewise."""

    out: Path
    metrics: tuple[str, ...]
    form: str
    top: int
    rule: "Rule"
    fraction: float
    plot: Path | None = None

    def __post_init__(self) -> None:
        from haymaker.heads.formats import check_format

        check_format(self.form)
        if not self.own and self.out.suffix == ".safetensors":
            raise ConfigError(f"--out {self.out}: {self.form} is a text; give a name that is not .safetensors")
        check_plot(self.plot, self.out)

    @property
    def scores(self) -> dict[str, Path]:
        return self.named(self.out)

    @property
    def plots(self) -> dict[str, Path]:
        return self.named(self.plot) if self.plot else {}

    def named(self, path: Path) -> dict[str, Path]:
        """A file for each metric."""
        several = len(self.metrics) > 1
        return {one: path.with_name(f"{path.stem}.{one}{path.suffix}") if several else path for one in self.metrics}

    @property
    def own(self) -> bool:
        from haymaker.heads.formats import OWN_FORMAT

        return self.form == OWN_FORMAT

    @property
    def written(self) -> list[Path]:
        """Every file that will be written."""
        from haymaker.heads.scores import HeadScores

        files = [one for path in self.scores.values() for one in (HeadScores.files(path) if self.own else (path,))]
        return [*files, *self.plots.values()]

    def write(self, found: "Mapping[str, HeadScores]", lm: "LanguageModel", folder: Path) -> None:
        """All of them into a folder, from which they take their places together."""
        from haymaker.heads.formats import write_scores

        kv_heads = 0 if self.form not in OF_KV_HEADS else kv_heads_of(lm)
        for name, scores in found.items():
            path = folder / self.scores[name].name
            if self.own:
                scores.save(path)
            else:
                write_scores(scores, path, self.form, self.top, kv_heads, rule=self.rule, fraction=self.fraction)
            draw(scores, self.plots.get(name), self.top, folder)


def kv_heads_of(lm: "LanguageModel") -> int:
    """KV heads of every layer, as the model has them. Raises ConfigError where layers have their own number."""
    from haymaker.attention.canary import check_architecture

    found = sorted({shape.kv_heads for shape in check_architecture(lm.model).layers.values()})
    if len(found) > 1:
        raise ConfigError(
            f"--format: layers of {lm.name} have {' or '.join(map(str, found))} KV heads, and this format has as many "
            "in every layer; write another (--format csv)"
        )
    return found[0]


def check_plot(plot: Path | None, out: Path) -> tuple[Path, ...]:
    """The picture as files to write. Raises ConfigError for another ending, or a folder that is not that of `out`."""
    if plot is None:
        return ()
    if plot.suffix.lower() not in PICTURES:
        raise ConfigError(f"--plot {plot}: expected a name that ends in {', '.join(PICTURES)}")
    if plot.absolute().parent != out.absolute().parent:
        raise ConfigError(f"--plot {plot}: expected a name in the folder of {out}, where the scores go")
    return (plot,)


def draw(scores: "HeadScores", plot: Path | None, top: int, folder: Path) -> None:
    """The map into a folder, under the name of `plot`, with the heads outlined that a command prints."""
    if plot is not None:
        scores.plot(top).save(folder / plot.name)
