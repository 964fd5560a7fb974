"""A prompt, and a file of rows, of one's own on the command line: scored as a dataset is, or told what is missing."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import passes, run

import haymaker as hm
from haymaker.cli import app
from haymaker.commands.own_prompt import Given, prompt_in
from haymaker.errors import ConfigError, DataError
from haymaker.evaluation.predictions import Evaluation

TEXT = "The bridge is of stone. Ada Reyes founded the mill."
NEEDLE = ("--needle", "Ada Reyes founded the mill.", "--answer", "Ada Reyes")


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    path = tmp_path / "prompt.txt"
    path.write_text(TEXT)
    return path


def test_heads_of_a_prompt_are_those_of_its_example(prompt: Path, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "heads.safetensors"
    asked = ("--question", "Who founded the mill?", "--plot", tmp_path / "heads.html")
    assert run("heads", "--model", model_folder, "--prompt", prompt, *asked, *NEEDLE, "--out", out).exit_code == 0
    assert "<svg" in (tmp_path / "heads.html").read_text() or "vega" in (tmp_path / "heads.html").read_text()
    example = hm.example(TEXT, NEEDLE[1], "Who founded the mill?", "Ada Reyes")
    scores = hm.detect_heads(hm.load_model(model_folder), example)
    assert (hm.HeadScores.load(out).mean == scores.mean.astype("float32")).all()


def test_own_answers_of_a_prompt_are_read_where_they_are_asked_for(
    prompt: Path, model_folder: Path, tmp_path: Path
) -> None:
    out, asked = tmp_path / "heads.safetensors", ("--own-answers", "--new-tokens", 8)
    passes("heads", "--model", model_folder, "--prompt", prompt, *NEEDLE, *asked, "--out", out)
    example = hm.example(TEXT, NEEDLE[1], answer="Ada Reyes")
    scores = hm.detect_heads(hm.load_model(model_folder), example, answer="own", new_tokens=8)
    assert (hm.HeadScores.load(out).mean == scores.mean.astype("float32")).all()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_prompt_is_read_as_it_stands_whatever_ends_its_lines(end: str, tmp_path: Path) -> None:
    text = f"The bridge is of stone.{end}It is old.{end}{end}Ada Reyes founded the mill.{end}"
    (tmp_path / "prompt.txt").write_bytes(text.encode("utf-8-sig"))
    at = text.index("Ada")
    for needle in (f"[{at}, {at + 27}]", f"old.{end}{end}Ada Reyes founded"):
        found = Given(prompt=tmp_path / "prompt.txt", needle=[needle], question="Who?", answer="Ada Reyes").example()
        assert found is not None
        assert found.text.startswith(text)
        assert found.text[found.spans["evidence"][0].slice] in ("Ada Reyes founded the mill.", needle)


TURNS = [{"role": "user", "content": f"{TEXT} Who did?"}]
ANSWERED = [*TURNS, {"role": "assistant", "content": "Ada Reyes"}]


@pytest.mark.parametrize("name", ["chat.json", "chat.txt"])
@pytest.mark.parametrize("content", [TURNS, {"messages": TURNS}, ANSWERED, {"messages": ANSWERED, "id": 3}])
def test_json_of_messages_is_a_chat_whatever_its_name(content: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(content, indent=1))
    answer = None if "assistant" in str(content) else "Ada Reyes"
    found = Given(prompt=tmp_path / name, needle=[NEEDLE[1]], answer=answer).example()
    assert found == hm.example(TURNS, NEEDLE[1], answer="Ada Reyes")


@pytest.mark.parametrize("text", ['{"a": "[24, 50]"}', "[1] Ada", '["a", "b"]', "[", '[{"rôle": 1}]'])
def test_other_json_is_a_text_unless_its_name_says_chat(text: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text(text)
    (tmp_path / "prompt.json").write_text(text)
    assert prompt_in(tmp_path / "prompt.txt") == text
    with pytest.raises(ConfigError, match="expected a JSON list of messages"):
        prompt_in(tmp_path / "prompt.json")


def test_an_answer_that_does_not_stand_in_the_needle_is_told(prompt: Path, model_folder: Path, tmp_path: Path) -> None:
    words = ("heads", "--model", model_folder, "--prompt", prompt, *NEEDLE[:3], "own", "--json")
    found = run(*words, "--out", tmp_path / "heads.safetensors")
    assert found.exit_code == 0
    assert "the answer 'own' does not stand in the needle" in found.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "give --data"),
        (("--data", "d", "--prompt", "p.txt"), "give --data"),
        (("--data", "d", "--needle", "x"), "--needle, --question and --answer go with --prompt"),
        (("--prompt", "prompt.txt", "--answer", "x"), "--prompt: give its --needle"),
        (("--prompt", "prompt.txt", "--needle", "x"), "--prompt: give its --needle"),
        (("--prompt", "prompt.txt", "--needle", "e", "--answer", "x"), "stands in the text more than once"),
        (("--prompt", "prompt.txt", "--needle", "dam", "--answer", "x"), "'dam' stands nowhere"),
        (("--prompt", "prompt.txt", "--needle", "[5, 999]", "--answer", "x"), "characters within a text of 51"),
        (("--data", "d", "--plot", "map.gif"), "--plot map.gif: expected a name that ends in .html"),
        (("--data", "d", "--plot", "other/map.png"), "expected a name in the folder of"),
        (("--data", "mine.csv", "--map", "question"), "--map question: expected NAME=COLUMN"),
        (("--prompt", "nowhere.txt", "--needle", "x", "--answer", "x"), "nowhere.txt: cannot be read"),
    ],
)
def test_half_a_prompt_is_told_in_one_sentence(
    given: tuple[str, ...], message: str, prompt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("heads", "--model", "none", *given, "--out", "heads.safetensors")
    assert found.exit_code in (1, 2)
    assert message in found.stderr.replace("\n", " ")
    assert len(found.stderr.strip().splitlines()) == 1


def test_rows_of_a_file_are_data_and_columns_may_have_other_names(tmp_path: Path, model_folder: Path) -> None:
    mine, out = tmp_path / "mine.jsonl", tmp_path / "heads.safetensors"
    turns = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "Ada Reyes"}]
    mine.write_text(json.dumps({"messages": turns, "evidence": ["Ada Reyes founded"]}))
    assert run("heads", "--model", model_folder, "--data", mine, "--out", out).exit_code == 0
    rows = tmp_path / "rows.csv"
    rows.write_text(f"prompt,answers,context\nWho founded the mill?,Ada Reyes,{TEXT}\n")
    build = ("build", "--task", "qa", "--length", 73, "--rows", 1, "--source", rows)
    assert run(*build, "--map", "question=prompt", "--out", tmp_path / "built").exit_code == 0
    assert hm.load_dataset(tmp_path / "built")[0].question == "Who founded the mill?"
    assert "--map question: expected NAME=COLUMN" in run(*build, "--map", "question", "--out", tmp_path / "b").stderr


def test_heads_are_named_one_by_one(tmp_path: Path, model_folder: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text(
        json.dumps({"messages": [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "Ada"}]})
    )
    words = ("ablate", "--model", model_folder, "--data", mine, "--draws", 1, "--new-tokens", 2, "--heads")
    assert run(*words, "2-1,0-3", "--out", tmp_path / "out").exit_code == 0
    frame = hm.load_results(tmp_path / "out")["ablation"]
    assert list(frame.head_list[frame.heads == "retrieval"]) == ["2-1", "2-1 0-3"]
    told = run(*words, "9-1", "--out", tmp_path / "other").stderr
    assert "9-1: no such head; the model has 3 layers of 4 heads, 0-0 to 2-3" in told
    told = run(*words, "2-1,0-3", "--k", 5, "--out", tmp_path / "other").stderr
    assert "5 heads are asked for, and 2 are listed" in told


# ---- every command that reads rows


READS = re.compile(r"\b(dataset|rows)\b", re.IGNORECASE)
BUILT = "reads the files of a dataset that was built, whose columns are ours"
NO_COLUMNS = {"validate": BUILT, **{f"data {name}": BUILT for name in ("verify", "overlap", "pool", "unpool")}}
NO_PROMPT = {
    **NO_COLUMNS,
    "build": "a prompt has its length and documents already",
    "write": "a prompt has its texts already",
    "data diff": "one prompt is compared by eye",
    "score": "its answers are given, and a prompt has one",
    "stats": "what is counted of one row is seen",
    "show": "`heads --prompt` and hm.show_example show it",
    "export": "a prompt is no training set",
    "train": "a prompt is no training set",
    "recommend": "a prompt is no training set, and bounds are over rows",
}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of the tree by its words."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


def reading() -> dict[str, set[str]]:
    """The commands that are given the path of rows, told by their help, and the options of each."""
    found = {}
    for name, command in leaves(typer.main.get_command(app)):
        paths = [one for one in command.params if one.type_descriptor.annotation in (Path, str, list[str])]
        if any(READS.search(getattr(one, "help", None) or "") for one in paths if one.name != "out"):
            found[name] = {option for one in command.params for option in one.opts}
    return found


def test_every_command_that_reads_rows_takes_other_names_of_columns_and_a_prompt_or_is_excused() -> None:
    commands = reading()
    assert len(commands) > 18
    assert {name for name, options in commands.items() if "--map" not in options} == {*NO_COLUMNS}
    assert {name for name, options in commands.items() if "--prompt" not in options} == {*NO_PROMPT}
    for name in commands.keys() - NO_PROMPT:
        assert {"--needle", "--question", "--answer"} <= commands[name], name
    assert not {*NO_PROMPT} - commands.keys()


COMMANDS = {
    "ablate": ("--heads", "2-1", "--draws", 1, "--new-tokens", 12),
    "attribute": (),
    "causal-map": (),
    "eval": ("--new-tokens", 12),
    "heads": (),
    "patch": ("--heads", "2-1", "--donor-heads", "2-1", "--draws", 1, "--new-tokens", 12),
}


def test_the_table_below_has_all_that_take_a_prompt() -> None:
    assert {*COMMANDS} == reading().keys() - NO_PROMPT


@pytest.fixture
def adapter(model_folder: Path, tmp_path: Path) -> Path:
    mill = hm.example(TEXT, NEEDLE[1], "Who founded the mill?", "Ada Reyes")
    config = hm.TrainConfig(steps=1, batch=1)
    hm.train(hm.load_model(model_folder), mill, config, out=tmp_path / "adapter")
    return tmp_path / "adapter"


def results_in(out: Path) -> Any:
    """What a command wrote that says numbers of its rows."""
    if (out / "predictions.jsonl").is_file():
        return [row.text for row in Evaluation.load(out / "predictions.jsonl").predictions]
    if out.is_dir():
        (frame,) = hm.load_results(out).values()
        return frame.score.tolist()
    return hm.HeadScores.load(out).mean.tolist()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_prompt_goes_where_data_goes(
    name: str, prompt: Path, model_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    words = (name, *COMMANDS[name], "--model", model_folder)
    if name == "patch":
        words += ("--donor", adapter, "--recipient", adapter)
    asked = ("--question", "Who founded the mill?", *NEEDLE)
    passes(*words, "--prompt", prompt, *asked, "--out", tmp_path / "first")
    # the same as the prompt's row in a file
    turns = [{"role": "user", "content": f"{TEXT}\n\nQuestion: Who founded the mill?\nAnswer:"}]
    row = {"messages": [*turns, {"role": "assistant", "content": "Ada Reyes"}], "evidence": [NEEDLE[1]]}
    (tmp_path / "mine.jsonl").write_text(json.dumps({"chat": row["messages"], "evidence": row["evidence"]}))
    mine = ("--data", tmp_path / "mine.jsonl", "--map", "messages=chat")
    passes(*words, *mine, "--out", tmp_path / "second")
    assert results_in(tmp_path / "first") == results_in(tmp_path / "second")
    assert "give --data" in run(*words, "--out", tmp_path / "third").stderr
    told = run(*words, "--prompt", prompt, *asked, "--map", "question=prompt", "--out", tmp_path / "third")
    assert "--map goes with --data" in told.stderr
    given = run(*words, "--data", tmp_path / "mine.jsonl", "--answer", "own", "--out", tmp_path / "third")
    assert "--answer go with --prompt" in given.stderr
    assert "--own-answers" in given.stderr
    refused = run(*words, "--prompt", prompt, *asked, "--overwrite", "--out", prompt)
    assert refused.exit_code != 0
    assert prompt.read_text() == TEXT


def test_an_answer_to_a_prompt_is_told(prompt: Path, model_folder: Path, tmp_path: Path) -> None:
    words = ("eval", "--model", model_folder, "--prompt", prompt, "--answer", "Ada Reyes", "--new-tokens", 8)
    told = json.loads(passes(*words, "--out", tmp_path / "out", "--json"))
    (kept,) = Evaluation.load(tmp_path / "out" / "predictions.jsonl").predictions
    assert (told["answer"], told["n"], told["score_low"]) == (kept.text, 1, None)
    shown = passes("score", tmp_path / "out")
    assert "None" not in shown
    assert "left out" in shown
    assert "give the --answer" in run(*words[:5], "--out", tmp_path / "other").stderr
    requests = tmp_path / "requests.jsonl"
    assert json.loads(passes(*words[:7], "--export-requests", requests, "--json"))["requests"] == 1
    assert TEXT in requests.read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_wrote_is_no_data_and_is_told_as_what_it_is(
    name: str, prompt: Path, model_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    words = (name, *COMMANDS[name], "--model", model_folder, "--prompt", prompt, *NEEDLE)
    if name == "patch":
        words += ("--donor", adapter, "--recipient", adapter)
    out = tmp_path / ("out" if name in ("ablate", "patch", "eval") else "out.safetensors")
    passes(*words, "--out", out)
    for path in (out, adapter, model_folder, *(out.glob("*.jsonl") if out.is_dir() else ())):
        told = run("show", path).stderr
        assert "expected rows, found" in told
        assert len(told) < 300 + len(str(path)), "no list of layouts"


def test_an_argument_given_as_an_option_is_told_its_place() -> None:
    asked = 0
    for name, command in leaves(typer.main.get_command(app)):
        options = {option for one in command.params for option in one.opts}
        for one in command.params:
            shown = (one.metavar or one.name).strip("[]")
            if one.param_type_name == "argument" and f"--{shown.lower()}" not in options:
                asked += 1
                told = run(*name.split(), f"--{shown.lower()}", "x")
                assert f"here it has no name: haymaker {name} {shown.upper()}" in told.stderr
                assert told.exit_code == 2
    assert asked > 20
    assert "here it has no name" not in run("extend", "--modell", "x").stderr


@pytest.mark.parametrize("name", ["ablate", "patch"])
def test_answers_of_few_rows_are_told_and_kept(
    name: str, prompt: Path, model_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    words = (name, *COMMANDS[name], "--model", model_folder, "--prompt", prompt, "--answer", "Ada Reyes")
    if name == "patch":
        words += ("--donor", adapter, "--recipient", adapter)
    told = passes(*words, "--out", tmp_path / "out")
    (frame,) = hm.load_results(tmp_path / "out").values()
    lm = hm.load_model(model_folder, adapter=adapter if name == "patch" else None)
    mill = hm.example(TEXT, answer="Ada Reyes")
    plain = hm.evaluate(lm, mill, new_tokens=12).predictions[0].text
    assert frame.answers[0] == [plain]
    assert plain in told
    if name == "ablate":
        assert frame.answers[1] == [hm.ablate(lm, mill, ["2-1"], new_tokens=12).predictions[0].text]
    (table,) = (tmp_path / "out" / "tables").glob("*.csv")
    assert json.dumps([plain], ensure_ascii=False).replace('"', '""') in table.read_text()


def test_columns_of_other_names_are_told_to_every_command(tmp_path: Path, model_folder: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(f"Asked;Reply;Passage\nWho founded the mill?;Ada Reyes;{TEXT}\n")
    told = [word for pair in ("question=Asked", "answer=Reply", "context=Passage") for word in ("--map", pair)]
    assert "--map question=prompt" in run("stats", rows).stderr
    assert '"tokens": null' in run("stats", rows, *told, "--json").stdout
    counted = json.loads(run("stats", rows, *told, "--tokenizer", model_folder, "--json").stdout)
    assert counted["tokens"] > 10
    assert json.loads(run("show", rows, *told, "--json").stdout)["answers"] == ["Ada Reyes"]
    assert run("export", rows, *told, "--format", "openai", "--out", tmp_path / "out.csv").exit_code == 0
    assert hm.read_examples(tmp_path / "out.csv")[0].target == "Ada Reyes"
    scored = ("heads", "--model", model_folder, "--data", rows, *told, "--out", tmp_path / "h.safetensors")
    assert run(*scored).exit_code == 0
    trained = ("train", "--model", model_folder, "--data", rows, *told, "--set", "steps=1", "--out", tmp_path / "a")
    assert run(*trained).exit_code == 0
    saved = hm.read_examples(tmp_path / "out.csv").save(tmp_path / "data")
    assert "is a dataset, built with both; leave --map out" in run("stats", saved, *told).stderr


def test_a_file_beside_the_rows_has_the_same_columns(tmp_path: Path) -> None:
    rows, told = tmp_path / "rows.csv", ("--map", "question=Asked")
    rows.write_text(f"Asked;answers;context\nWho founded the mill?;Ada Reyes;{TEXT}\n")
    assert json.loads(passes("stats", rows, *told, "--against", rows, "--json"))["rows_sharing_question"] == 1
    built = hm.read_examples(rows, columns={"question": "Asked"}).save(tmp_path / "built")
    assert json.loads(passes("stats", rows, *told, "--against", built, "--json"))["rows_sharing_question"] == 1


def test_columns_of_a_ranking_are_told_of_all_files_or_of_one(tmp_path: Path) -> None:
    from haymaker.commands.recommendation import sources_of

    def file(name: str, question: str, context: str) -> str:
        (tmp_path / name).write_text(f"{question},answers,{context}\nWho founded the mill?,Ada Reyes,{TEXT}\n")
        return str(tmp_path / name)

    paths = {"one": file("one.csv", "q", "passage"), "two": file("two.csv", "asked", "passage")}
    real = file("real.csv", "question", "passage")
    (tmp_path / "three.yaml").write_text("{task: mdqa, length: 128, rows: 1}")
    built = hm.read_examples([{"question": "q", "answers": "a", "context": "It is a."}]).save(tmp_path / "built")
    found = sources_of(
        paths | {"three": str(tmp_path / "three.yaml"), "four": str(built)},
        real,
        ["context=passage", "one:question=q", "two:question=asked"],
    )
    assert [*found] == ["one", "two", "three", "four", "real"]
    assert found["three"] == hm.Recipe(task="mdqa", length=128, rows=1)
    for name in ("one", "two", "real"):
        rows = found[name]
        assert not isinstance(rows, hm.Recipe)
        assert rows[0].question == "Who founded the mill?"
    words = (
        "recommend",
        "--model",
        "none",
        "--real",
        real,
        *(w for n, p in paths.items() for w in ("--candidate", f"{n}={p}")),
    )
    for told, message in {
        "five:question=q": "--map five: no candidate of that name; expected one, two, real",
        "question=q": "no column q here",
        "one:question": "expected NAME=COLUMN",
        "question": "expected NAME=COLUMN",
    }.items():
        assert message in run(*words, "--map", "context=passage", "--map", told).stderr
    recipe = ("--candidate", f"three={tmp_path / 'three.yaml'}", "--map", "three:question=q")
    assert "is a recipe; its own `columns` say it" in run(*words[:5], *recipe).stderr
    assert "candidate real: the real row" in run(*words, "--candidate", f"real={real}").stderr


def test_a_prompt_is_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompt.txt").write_text("a line\n" * 5)
    monkeypatch.setattr("haymaker.commands.own_prompt.MOST_AT_ONCE", 34)
    with pytest.raises(DataError, match="more than 34 characters, too many to read"):
        prompt_in(tmp_path / "prompt.txt")
