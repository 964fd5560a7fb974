"""Wherever two artifacts meet, what they record of their origin is compared: a table of places and differences.

Every case lets two artifacts meet that differ in one thing, and says what must come of it: an error with these words, a
note with these words, or nothing, with the reason why such a difference is none. Where nothing differs nothing is said,
so that no word is one that is said always.
"""

import inspect
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from transformers import AutoTokenizer

import haymaker as hm
from haymaker.config import TrainConfig
from haymaker.errors import HaymakerError
from haymaker.evaluation.differences import difference
from haymaker.evaluation.given_answers import judge_given
from haymaker.heads.tracking import HeadTracker
from haymaker.interventions.parts import patching_parts
from haymaker.interventions.patching import patching_table
from haymaker.models.packaged import MINIATURES
from haymaker.records import Prediction

QUIET: dict[str, Any] = {"on_progress": lambda steps: None}
SHORT: dict[str, Any] = {"new_tokens": 4}
OWN = hm.example("Ann keeps a red hat.", "red", "What colour?", "red")


@dataclass(frozen=True)
class Case:
    """Two artifacts that meet, and what is said of it."""

    place: str
    differs: str
    meet: Callable[["World", Path], Any]
    refused: str = ""
    told: str = ""
    free: str = ""  # why it does not matter

    def __str__(self) -> str:
        return f"{self.place}: {self.differs or 'nothing'}"


class World:
    """Small artifacts that go together, and twins of them that differ in one thing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
        self.lm = hm.load_model("miniature-llama")
        self.data = hm.build(hm.Recipe(task="mdqa", length=96, rows=8), self.tokenizer)
        self.scores = hm.detect_heads(self.lm, self.data[:2])
        self.answers = hm.evaluate(self.lm, self.data[:2], new_tokens=8)
        self.adapters = [self.adapter(seed) for seed in (0, 1)]

    def adapter(self, seed: int) -> Path:
        out, config = self.folder / f"adapter-{seed}", TrainConfig(steps=1, batch=2, rate=1e-2, seed=seed)
        hm.train(self.like(), self.data, config, out, **QUIET)
        return out

    def like(self, **changed: Any) -> hm.LanguageModel:
        """The model once more; with another extension, tokenizer, precision or other weights."""
        dtype = changed.get("dtype", "float32")
        lm = hm.load_model("miniature-llama", extend=changed.get("extend"), dtype=dtype, adapter=changed.get("adapter"))
        if changed.get("tokenizer"):
            lm.tokenizer = deepcopy(lm.tokenizer)
            lm.tokenizer.chat_template = "{{ messages }}"
        if changed.get("weights"):
            next(iter(lm.base.parameters())).data.add_(1)
        return lm

    def of(self, **provenance: Any) -> hm.HeadScores:
        """The scores, with other lines in their record."""
        return hm.HeadScores(
            self.scores.values, self.scores.example_ids, self.scores.metric, self.scores.provenance | provenance
        )

    def rows(self, **manifest: Any) -> hm.Dataset:
        return hm.Dataset(self.data.table, {**self.data.manifest, **manifest})[:2]

    def own_tokens(self) -> hm.Dataset:
        return self.rows(tokenizer_sha256="another", tokenizer_name="another-model")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


# ---- scores and a model


def ablated(w: World, scores: hm.HeadScores, lm: hm.LanguageModel | None = None) -> Any:
    return hm.ablation_curve(lm or w.lm, [OWN], scores, sizes=(1,), draws=0, **SHORT)


def shown(w: World, scores: hm.HeadScores, lm: hm.LanguageModel | None = None) -> Any:
    return hm.show_example(lm or w.lm, OWN, scores)


def lent(w: World, scores: hm.HeadScores, lm: hm.LanguageModel | None = None) -> Any:
    lm = lm or w.lm
    return patching_table(lm, lm, [OWN], scores, hm.detect_heads(lm, OWN), k=1, draws=0, **SHORT)


def taken(w: World, scores: hm.HeadScores, lm: hm.LanguageModel | None = None) -> Any:
    lm = lm or w.lm
    return patching_table(lm, lm, [OWN], hm.detect_heads(lm, OWN), scores, k=1, draws=0, **SHORT)


def tracked(w: World, scores: hm.HeadScores, lm: hm.LanguageModel | None = None) -> Any:
    scores.save(path := w.folder / "reference.safetensors")
    track = {"reference": str(path), "rows": 2, "k": 1}
    return HeadTracker(lm or w.lm, w.data, TrainConfig(track=track).track, w.folder)  # type: ignore[arg-type]


def ablated_by_command(w: World, scores: hm.HeadScores, lm: Any = None) -> Any:
    scores.save(path := w.folder / "given.safetensors")
    data, out = w.folder / "two rows", w.folder / "ablated"
    if not data.exists():
        w.data[:1].save(data)
    words = ("--heads", path, "--k", 1, "--draws", 1, "--new-tokens", 8, "--out", out, "--overwrite")
    return run("ablate", "--model", "miniature-llama", "--data", data, *words)


OF_SCORES = {
    "ablate": ablated,
    "show_example": shown,
    "patch, donor": lent,
    "patch, recipient": taken,
    "track.reference": tracked,
    "haymaker ablate": ablated_by_command,
}


def scores_and_model() -> list[Case]:
    found = []
    for name, use in OF_SCORES.items():
        place, tracks = f"scores and model, {name}", name == "track.reference"
        shape = "the model has (4, 8)" if name in ("track.reference", "haymaker ablate") else "4 of 8"

        def other(use: Any = use, **record: Any) -> Callable[[World, Path], Any]:
            return lambda w, path: use(w, w.of(**record))

        def small(w: World, path: Path, use: Any = use) -> Any:
            return use(w, hm.HeadScores(w.scores.values[:, :3, :4], w.scores.example_ids, "copy", w.scores.provenance))

        found += [
            Case(place, "", other()),
            Case(place, "shape", small, refused=shape),
            Case(place, "weights", other(weights="x"), told="other weights"),
            Case(place, "tokenizer", other(tokenizer="x"), told="another tokenizer"),
            Case(place, "extension", other(positions="x"), told="another "),
            Case(place, "name of the model", other(model="x"), free="a folder may be moved"),
        ]
        if tracks:
            found += [
                Case(place, "rows", other(dataset="x", prompts="x"), told="of other rows"),
                Case(place, "adapter", other(adapter="x"), free="the base is where training starts"),
                Case(place, "metric", lambda w, path: tracked(w, replace(w.scores, metric="mass")), told="by mass"),
            ]
        elif use is not ablated_by_command:
            found += [
                Case(place, "adapter", other(adapter="x"), told="another adapter"),
                Case(place, "rows", other(dataset="x"), free="heads are found on one set and used on another"),
                Case(
                    place,
                    "metric",
                    lambda w, path, use=use: use(w, replace(w.scores, metric="mass")),
                    free="any map ranks heads",
                ),
            ]
    return found


# ---- scores and scores


def beside(**record: Any) -> Callable[[World, Path], Any]:
    return lambda w, path: [w.of().cosine(w.of(**record)), hm.agreement({"a": w.of(), "b": w.of(**record)}, k=2)]


def beside_by_command(**record: Any) -> Callable[[World, Path], Any]:
    def meet(w: World, path: Path) -> Any:
        w.of().save(path / "a.safetensors")
        w.of(**record).save(path / "b.safetensors")
        return run("compare", path / "a.safetensors", path / "b.safetensors")

    return meet


def scores_and_scores() -> list[Case]:
    found = []
    for how, meet in {"cosine": beside, "haymaker compare": beside_by_command}.items():
        place = f"scores and scores, {how}"
        found += [
            Case(place, "", meet()),
            Case(place, "weights", meet(weights="x"), told="of other weights"),
            Case(place, "tokenizer", meet(tokenizer="x"), told="of another tokenizer"),
            Case(place, "extension", meet(positions="x"), told="of another context extension"),
            Case(place, "rows", meet(dataset="x", prompts="x"), told="of other rows"),
            Case(place, "needle", meet(needle=["x"]), told="of other needles"),
            Case(place, "answers", meet(answer="own"), told="of gold and of own answers"),
            Case(place, "adapter", meet(adapter="x"), free="two adapters of a base are what is compared"),
            Case(place, "name of the model", meet(model="x"), free="a folder may be moved"),
            Case(place, "precision", meet(dtype="bfloat16"), free="rounding moves scores less than rows do"),
        ]

    def smaller(w: World, path: Path) -> Any:
        return w.scores.recall(hm.HeadScores(w.scores.values[:, :, :4], w.scores.example_ids, "copy"))

    def donors(w: World, path: Path) -> Any:
        return w.of(donor={"weights": "a"}).overlap(w.of(donor={"weights": "b"}), 2)

    def scopes(w: World, path: Path) -> Any:
        return w.of(scope="all").spearman(w.of(scope="last"))

    def spelled(w: World, path: Path) -> Any:
        w.of().save(path / "h.safetensors")
        about = json.loads((path / "h.json").read_text())
        (path / "h.json").write_text(json.dumps(about | {"provenance": {"weights": "x"}}))
        return hm.HeadScores.load(path / "h.safetensors")

    return [
        *found,
        Case("scores and scores, recall", "shape", smaller, refused="two shapes"),
        Case("scores and scores, overlap", "donor", donors, told="of another donor"),
        Case("scores and scores, spearman", "scope", scopes, told="of another scope"),
        Case("scores and their record", "record", spelled, refused="its provenance is not that of its hash"),
    ]


# ---- rows and a model's tokenizer


def donor(w: World) -> hm.LanguageModel:
    return w.like(adapter=w.adapters[0])


class Enough(Exception):
    """The candidates are read, and the first probe is done."""


def recommended(w: World, rows: Any) -> None:
    def stop(probes: int) -> None:
        raise Enough

    other = hm.Recipe(task="mdqa", length=96, rows=2, seed=9, setting="symbolic")
    with pytest.raises(Enough):
        hm.recommend(w.lm, {"mine": rows, "other": other}, w.data, answers=False, on_progress=stop)


TAKES_ROWS: dict[str, Callable[[World, Any, Path], Any]] = {
    "evaluate": lambda w, rows, path: hm.evaluate(w.lm, rows),
    "detect_heads": lambda w, rows, path: hm.detect_heads(w.lm, rows),
    "detect_all": lambda w, rows, path: hm.detect_all(w.lm, rows, ("copy", "mass")),
    "causal_map": lambda w, rows, path: hm.causal_map(w.lm, rows[:1]),
    "attribute": lambda w, rows, path: hm.attribute(w.lm, rows[:1]),
    "set_effects": lambda w, rows, path: hm.set_effects(w.lm, rows[:1], [["0-0"]]),
    "ablate": lambda w, rows, path: hm.ablate(w.lm, rows, ["0-0"]),
    "ablate_sets": lambda w, rows, path: hm.ablate_sets(w.lm, rows, [["0-0"]]),
    "ablation_curve": lambda w, rows, path: hm.ablation_curve(w.lm, rows, w.scores, sizes=(1,), draws=0),
    "patch": lambda w, rows, path: hm.patch(w.adapters[0], w.lm, rows, ["0-0"]),
    "patch_many": lambda w, rows, path: hm.patch_many(w.adapters[0], w.lm, rows, {"one": ["0-0"]}),
    "patch_sets": lambda w, rows, path: hm.patch_sets(donor(w), w.lm, rows, [["0-0"]], scope="last"),
    "patching_table": lambda w, rows, path: patching_table(w.lm, w.lm, rows, w.scores, w.scores, k=1, draws=0),
    "patching_parts": lambda w, rows, path: patching_parts(donor(w), w.lm, rows[:1], {"one": ["0-0"]}),
    "train": lambda w, rows, path: hm.train(w.like(), rows, TrainConfig(steps=1, batch=1), path, **QUIET),
    "recommend": lambda w, rows, path: recommended(w, rows),
}  # fmt: skip


def rows_and_tokenizer() -> list[Case]:
    found = []
    for name, use in TAKES_ROWS.items():
        place = f"rows and tokenizer, {name}"
        found += [Case(place, "tokenizer", lambda w, path, use=use: use(w, w.own_tokens(), path),
                       told="built with another tokenizer (another-model) than that of miniature-llama")]  # fmt: skip
        if name in ("evaluate", "detect_heads", "causal_map", "train"):
            found.append(Case(place, "", lambda w, path, use=use: use(w, w.rows(), path)))
    place = "rows and tokenizer"

    def tracked_on(w: World, path: Path) -> Any:
        track = {"every": 1, "rows": 1, "k": 1}
        config = TrainConfig(steps=1, batch=1, track=track)  # type: ignore[arg-type]
        return hm.train(w.like(), w.rows(), config, path, track_on=w.own_tokens(), **QUIET)

    def served(w: World, path: Path) -> Any:
        w.own_tokens().save(path / "data")
        words = ("--export-requests", path / "requests.jsonl")
        return run("eval", "--model", "miniature-llama", "--data", path / "data", *words)

    def validated(w: World, path: Path) -> Any:
        w.own_tokens().save(path / "data")
        return run("validate", path / "data", "--tokenizer", "miniature-llama")

    return [
        *found,
        Case(place, "tokenizer of tracked rows", tracked_on, told="built with another tokenizer"),
        Case(place, "tokenizer, served", served, told="built with another tokenizer"),
        Case(place, "tokenizer, validate", validated, refused="not the tokenizer that the dataset was built for"),
        Case(place, "Examples alone", lambda w, path: hm.evaluate(w.lm, list(w.own_tokens())),
             free="an Example is text, and has no length in tokens"),
    ]  # fmt: skip


# ---- an adapter and its base, a donor and its recipient


def adapters_and_models() -> list[Case]:
    def on(**changed: Any) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            own = w.like(**changed)
            own.base.save_pretrained(path)
            own.tokenizer.save_pretrained(path)
            return hm.load_model(path, adapter=w.adapters[0])

        return meet

    def longer(w: World, path: Path) -> Any:
        return hm.load_model("miniature-llama", adapter=w.adapters[0], extend=hm.Extend(length=256))

    def other_file(w: World, path: Path) -> Any:
        for file in w.adapters[0].iterdir():
            (path / file.name).write_bytes(file.read_bytes())
        name = "adapter_model.safetensors"
        (path / name).write_bytes((w.adapters[1] / name).read_bytes())
        return hm.load_model("miniature-llama", adapter=path)

    def lends(change: Callable[[World], hm.LanguageModel]) -> Callable[[World, Path], Any]:
        return lambda w, path: hm.patch(change(w), w.lm, [OWN], ["0-0"], **SHORT)

    def small(w: World) -> hm.LanguageModel:
        from transformers import LlamaConfig, LlamaForCausalLM

        about: dict[str, Any] = w.lm.base.config.to_dict() | {"num_hidden_layers": 2}
        return hm.LanguageModel(LlamaForCausalLM(LlamaConfig(**about)).eval(), w.tokenizer, "small")

    def other_words(w: World) -> hm.LanguageModel:
        lm = w.like()
        lm.tokenizer = deepcopy(lm.tokenizer)
        lm.tokenizer.add_tokens(["another"])
        return lm

    def scores_of_folder(which: int) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            lm, second = w.like(adapter=w.adapters[0]), w.adapters[1]
            own = hm.detect_heads(w.like(adapter=w.adapters[which]), OWN)
            return patching_table(second, lm, [OWN], own, hm.detect_heads(lm, OWN), k=1, draws=0, **SHORT)

        return meet

    def listed(name: str) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            (path / "heads.yaml").write_text(f"attn_head_set: 0-0,1-1\nmodel_name_or_path: {name}\n")
            w.data[:1].save(path / "data")
            words = ("--heads", path / "heads.yaml", "--k", 1, "--draws", 1, "--new-tokens", 8, "--out", path / "out")
            return run("ablate", "--model", "miniature-llama", "--data", path / "data", *words)

        return meet

    base, pair = "adapter and base", "donor and recipient"
    return [
        Case(base, "", on()),
        Case(base, "weights", on(weights=True), refused="trained on other weights than these"),
        Case(base, "tokenizer", on(tokenizer=True), refused="trained with another tokenizer"),
        Case(base, "extension", longer, refused="trained at length 128"),
        Case(base, "its own file", other_file, refused="not the weights that training wrote"),
        Case(pair, "", lends(lambda w: w.like())),
        Case(pair, "shape", lends(small), refused="two models of one shape"),
        Case(pair, "vocabulary", lends(other_words), refused="read the same tokens"),
        Case(pair, "weights", lends(lambda w: w.like(weights=True)), told="has other weights than the recipient"),
        Case(pair, "weights, in another precision", lends(lambda w: w.like(weights=True, dtype="bfloat16")),
             told="has other weights than the recipient"),
        Case(pair, "precision", lends(lambda w: w.like(dtype="bfloat16")), free="the same weights, rounded"),
        Case(pair, "extension", lends(lambda w: w.like(extend=hm.Extend(length=256))),
             told="another extension of the context"),
        Case(pair, "adapter", lends(donor), free="its heads are what is lent"),
        Case(pair, "chat template", lends(lambda w: w.like(tokenizer=True)), free="the recipient's reads the rows"),
        Case("scores and a donor's folder", "", scores_of_folder(1)),
        Case("scores and a donor's folder", "adapter", scores_of_folder(0), told="another adapter than the donor"),
        Case("list of heads and model", "", listed("org/Miniature-Llama")),
        Case("list of heads and model", "name", listed("org/other"), told="lists heads of org/other"),
    ]  # fmt: skip


# ---- what goes on: a run's state, rows that are kept, a dataset's parts


def what_goes_on() -> list[Case]:
    config = TrainConfig(steps=2, batch=1, save_every=1)
    track = TrainConfig(**config.model_dump() | {"track": {"every": 1, "rows": 1, "k": 1}})

    def stopped(w: World, path: Path, lm: hm.LanguageModel, config: TrainConfig, **options: Any) -> None:
        def stop(steps: int, told: list[int] = []) -> None:  # noqa: B006
            told.append(steps)
            if sum(told) == 1:
                raise RuntimeError("stopped")

        with pytest.raises(RuntimeError):
            hm.train(lm, w.data[:2], config, path, on_progress=lambda n, told=[]: stop(n, told), **options)

    def trained(
        before: Callable[[World], hm.LanguageModel],
        after: Callable[[World], hm.LanguageModel],
        rows: slice = slice(2),
        second: TrainConfig = config,
    ) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            stopped(w, path, before(w), config)
            return hm.train(after(w), w.data[rows], second, path, **QUIET)

        return meet

    def plain(w: World) -> hm.LanguageModel:
        return w.like()

    def way(method: str) -> Callable[[World], hm.LanguageModel]:
        return lambda w: w.like(extend=hm.Extend(length=256, method=method))  # type: ignore[arg-type]

    def tracked_rows(finished: bool) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            if finished:
                hm.train(plain(w), w.data[:2], track, path, track_on=w.data[:1], **QUIET)
            else:
                stopped(w, path, plain(w), track, track_on=w.data[:1])
            return hm.train(plain(w), w.data[:2], track, path, track_on=w.data[1:2], **QUIET)

        return meet

    def kept(lm: Callable[[World], hm.LanguageModel], rows: slice = slice(2)) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            hm.detect_heads(plain(w), w.data[:2], keep=path / "keep")
            return hm.detect_heads(lm(w), w.data[rows], keep=path / "keep")

        return meet

    def built(**changed: Any) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            words = {"task": "mdqa", "length": 96, "rows": 1, "tokenizer": "miniature-llama"}
            for given in (words, words | changed):
                flags = [word for key, value in given.items() for word in (f"--{key}", value)]
                found = run("build", *flags, "--out", path / "data")
            return found

        return meet

    def parts(w: World, path: Path) -> Any:
        (path / ".data.parts").mkdir()
        (path / ".data.parts" / "identity").write_text("another")
        return run("build", "--task", "mdqa", "--length", 96, "--rows", 1, "--out", path / "data")

    def told(word: str) -> str:
        return f"rows that were made with another {word}"

    state = "state and run"
    return [
        Case(state, "", trained(plain, plain)),
        Case(state, "weights", trained(plain, lambda w: w.like(weights=True)), refused="another base"),
        Case(state, "rows", trained(plain, plain, slice(2, 4)), refused="another data"),
        Case(state, "config", trained(plain, plain, second=config.changed(rate=0.5)), refused="another config"),
        Case(state, "precision", trained(plain, lambda w: w.like(dtype="bfloat16")), refused="another"),
        Case(state, "length", trained(plain, way("ntk")), refused="another context extension"),
        Case(state, "way of extending", trained(way("linear"), way("yarn")), refused="another context extension"),
        Case(state, "tracked rows", tracked_rows(finished=False), refused="another tracking"),
        Case("finished run", "tracked rows", tracked_rows(finished=True), refused="another tracking"),
        Case("kept rows", "", kept(plain)),
        Case("kept rows", "weights", kept(lambda w: w.like(weights=True)), told=told("weights")),
        Case("kept rows", "extension", kept(way("ntk")), told=told("extend")),
        Case("kept rows", "rows", kept(plain, slice(2, 4)), told=told("dataset")),
        Case("dataset and build", "", built()),
        Case("parts and build", "recipe", parts, told="holds parts of another dataset"),
        Case("dataset and build", "recipe", built(seed=1), refused="holds another dataset (seed: 0, here 1)"),
        Case("dataset and build", "tokenizer", built(tokenizer="miniature-sparse"),
             free="both read alike, so their rows are the same"),
    ]  # fmt: skip


# ---- answers


def answers_and_rows() -> list[Case]:
    def two(change: Callable[[Prediction], Prediction]) -> Callable[[World, Path], Any]:
        return lambda w, path: difference(
            w.answers, replace(w.answers, predictions=tuple(map(change, w.answers.predictions)))
        )

    def again(metric: str) -> Callable[[World, Path], Any]:
        return lambda w, path: difference(w.answers, w.answers.judged_by([metric]))

    def lines(*ids: str) -> Callable[[World, Path], Any]:
        def meet(w: World, path: Path) -> Any:
            own = [row.id for row in w.data[:2]]
            text = "".join(json.dumps({"id": own[int(one)] if one.isdigit() else one, "prediction": "x"}) + "\n"
                           for one in ids)  # fmt: skip
            (path / "mine.jsonl").write_text(text)
            w.data[:2].save(path / "data")
            judge_given(path / "mine.jsonl", w.data[:2])
            return run("score", path / "mine.jsonl", "--data", path / "data")

        return meet

    def changed(w: World, path: Path, rows: slice = slice(2)) -> Any:
        return hm.evaluate(w.lm, w.data[rows], new_tokens=8).change_from(w.answers)

    def candidates(rows: slice) -> Callable[[World, Path], Any]:
        return lambda w, path: recommended(w, list(w.data[rows]))

    pair, mine = "answers and answers", "own answers and rows"
    return [
        Case(pair, "", two(lambda one: one)),
        Case(pair, "rows", two(lambda one: replace(one, example_id=one.example_id + "x")), refused="no row in common"),
        Case(pair, "golds", two(lambda one: replace(one, answers=("x",))), refused="other golds"),
        Case(pair, "metric", again("ruler_all"), free="both are judged by it first"),
        Case(pair, "model", two(lambda one: replace(one, text="x")), free="it is what is compared"),
        Case("answers and the plain model's", "", lambda w, path: changed(w, path)),
        Case("answers and the plain model's", "rows", lambda w, path: changed(w, path, slice(2, 4)),
             refused="answers to other rows"),
        Case(mine, "", lines("0", "1")),
        Case(mine, "all rows", lines("x", "y"), refused="no line answers a row"),
        Case(mine, "a row", lines("0", "1", "x"), told="1 responses are to no row"),
        Case(mine, "a row is missing", lines("0"), refused="1 of 2 rows have no response"),  # exit code 3
        Case("candidates and real rows", "", candidates(slice(0, 8, 2))),  # those that the reference learns
        Case("candidates and real rows", "held rows", candidates(slice(8)), told="candidate mine: 4 of 8 rows teach"),
    ]  # fmt: skip


TABLE = [
    *scores_and_model(), *scores_and_scores(), *rows_and_tokenizer(), *adapters_and_models(), *what_goes_on(),
    *answers_and_rows(),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_what_belongs_together_is_compared(
    case: Case, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bool(case.differs) == bool(case.refused or case.told or case.free)
    found: Any = None
    refused = ""
    try:
        found = case.meet(world, tmp_path)
    except HaymakerError as error:
        refused = str(error)
    said = " ".join(capsys.readouterr().err.split())
    if getattr(found, "exit_code", None) is not None:  # of a command
        said += " " + " ".join(found.stderr.split())
        refused = said if found.exit_code else ""
    assert bool(refused) == bool(case.refused), refused or f"nothing refused: {said}"
    assert case.refused in refused
    assert case.told in said
    if not case.told and not case.refused:
        assert not [word for word in ("other", "another", "replaced") if word in said.split()], said


def test_every_public_function_of_a_model_and_rows_is_in_the_table() -> None:
    """A new one is asked what it does with rows of another tokenizer."""
    public = [one for name in dir(hm) if inspect.isfunction(one := getattr(hm, name))]
    given = {one.__name__: inspect.signature(one).parameters.keys() for one in public}
    takes = {name for name, of in given.items() if {"examples", "rows", "real"} & of and {"lm", "recipient"} & of}
    assert takes <= TAKES_ROWS.keys(), takes - TAKES_ROWS.keys()
    assert len(takes) > 10
