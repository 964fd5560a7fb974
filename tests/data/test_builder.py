"""Laws of building: rows are functions of their recipe, fill their length, and stand where their spans say."""

import gc
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from real_rows import mdqa_row, musique_row, topic, write_jsonl
from scipy.stats import chisquare
from task_solvers import judged
from tiny_tokenizers import KINDS, STRIPPING, TEMPLATE, tiny_tokenizer
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.choices import SETTINGS
from haymaker.config import Recipe
from haymaker.data.builder import Builder, without_collection
from haymaker.data.fit.place import slot_at, spread
from haymaker.data.fit.stream import closest_sum
from haymaker.data.schema import example_of, table_of, token_spans_of
from haymaker.data.validation import validate
from haymaker.errors import ConfigError, DataError, LengthError
from haymaker.heads.null_query import null_example
from haymaker.randomness import keyed, shuffle
from haymaker.realism.written import Written, save_written
from haymaker.tasks import to_write
from haymaker.tokens import encode

TASKS = ("mdqa", "musique", "summhay", "niah", "kv")


def settings_of(task: str) -> tuple[str, ...]:
    return ("real", "symbolic") if task == "kv" else tuple(SETTINGS)


EVERY = [(task, setting) for task in TASKS for setting in settings_of(task)]


def recipe(**changes: Any) -> Recipe:
    return Recipe(**({"task": "mdqa", "setting": "real", "length": 256, "rows": 4} | changes))


def plain_rows(builder: Builder, numbers: Any) -> list[dict[str, Any]]:
    return table_of([builder.row(number) for number in numbers]).to_pylist()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "topic.json").write_text(json.dumps(topic()))
    return {
        "mdqa": write_jsonl(folder / "mdqa.jsonl.gz", [mdqa_row(n) for n in range(30)]),
        "musique": write_jsonl(folder / "musique.jsonl", [musique_row(n, 2 + n % 3) for n in range(30)]),
        "summhay": str(folder / "topic.json"),
    }


# ---- what is counted is what is there


def check_counts(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    """The recorded tokens and spans are those of the whole prompt, tokenised by the one function that aligns."""
    encoded = encode(example_of(row), tokenizer)
    assert encoded.prompt_length == row["n_prompt_tokens"]
    assert len(encoded) - encoded.prompt_length == row["n_target_tokens"]
    assert sorted(encoded.labelled_spans) == sorted(token_spans_of(row))
    assert len(encoded) <= row["max_tokens"]


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("setting", "prompt"), [("real", "official"), ("low-low", "miniature"), ("symbolic", "miniature")]
)
def test_recorded_tokens_are_those_of_the_whole_prompt(
    kind: str, template: str | None, setting: str, prompt: str
) -> None:
    tokenizer = tiny_tokenizer(kind, template)
    for row in plain_rows(Builder(recipe(setting=setting, length=512, prompt=prompt), tokenizer), range(2)):
        check_counts(row, tokenizer)
        assert row["n_prompt_tokens"] + row["n_target_tokens"] >= 0.95 * 512


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
@pytest.mark.parametrize("kind", KINDS)
def test_records_are_aligned_where_they_join_what_stands_before_them(kind: str, template: str | None) -> None:
    """A brace and the quote behind it may be one token, as may a blank and a quote: the first record is no other's."""
    tokenizer = tiny_tokenizer(kind, template)
    for row in plain_rows(Builder(recipe(task="kv", setting="real", length=4096), tokenizer), range(2)):
        check_counts(row, tokenizer)
        # Where every digit is a token all records are of a size, so that up to one may be missing.
        assert row["n_prompt_tokens"] + row["n_target_tokens"] > 4096 - 90


@pytest.mark.parametrize(("task", "setting"), EVERY)
def test_every_task_and_setting_of_the_world(task: str, setting: str, tokenizer: PreTrainedTokenizerBase) -> None:
    for row in plain_rows(Builder(recipe(task=task, setting=setting, length=512), tokenizer), range(2)):
        check_counts(row, tokenizer)
        check_evidence(row)


@pytest.mark.parametrize(("task", "setting"), [(t, s) for t, s in EVERY if t in ("mdqa", "musique", "summhay")])
def test_every_task_and_setting_of_files(
    task: str, setting: str, tokenizer: PreTrainedTokenizerBase, sources: dict[str, str]
) -> None:
    length = 4096 if task == "summhay" else 1024
    chosen = recipe(task=task, setting=setting, length=length, source=sources[task], relations=relations_of(task))
    for row in plain_rows(Builder(chosen, tokenizer), range(2)):
        check_counts(row, tokenizer)
        check_evidence(row)
        assert row["n_prompt_tokens"] + row["n_target_tokens"] >= 0.99 * length


def relations_of(task: str) -> tuple[str, ...] | None:
    return {"mdqa": ("winner",), "musique": ("capital", "founder", "spouse", "author")}.get(task)


def check_evidence(row: dict[str, Any]) -> None:
    """The answer stands within evidence (or, cited, within a document's number), and every metric accepts it."""
    example = example_of(row)
    assert set(judged(example.target, example).values()) == {1.0}
    checks = json.loads(row["checks"])
    assert checks["answer_in_gold"]
    assert not checks["leaks"]
    outer = example.spans["document" if example.task == "summhay" else "evidence"]
    for span in example.spans["answer"]:
        assert any(around.start <= span.start and span.stop <= around.stop for around in outer)
        assert example.text[span.slice] in example.target


# ---- lengths


@pytest.mark.parametrize("length", [1024, 4096])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_row_fills_its_length(setting: str, length: int, tokenizer: PreTrainedTokenizerBase) -> None:
    for row in plain_rows(Builder(recipe(setting=setting, length=length), tokenizer), range(4)):
        assert 0.99 * length <= row["n_prompt_tokens"] + row["n_target_tokens"] <= length


@pytest.mark.parametrize(("room", "length"), [(1, 256), (10, 256), (80, 256), (500, 1024)])
def test_every_row_leaves_the_room_for_an_answer_free(
    room: int, length: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    chosen = recipe(length=length, rows=4, split="train", answer_room=room)
    found = hm.build(chosen, tokenizer)
    free = [length - row["n_prompt_tokens"] for row in found.rows]
    assert all(room <= left <= max(room, 9) + 0.01 * length + 1 for left in free)
    assert found.manifest["answer_room"] == found.recipe.room == room
    assert hm.build(chosen.changed(rows=2), tokenizer)[0].id == found[0].id
    with pytest.raises(LengthError, match="answer_room: 1 tokens were to stay free"):
        hm.build(recipe(length=256, rows=4, split="test", answer_room=1), tokenizer)
    with pytest.raises(ConfigError, match="answer_room: 256 were asked for, and 255 are the most"):
        hm.build(recipe(length=256, rows=4, answer_room=256), tokenizer)


def test_test_rows_leave_room_unasked_and_are_as_full(tokenizer: PreTrainedTokenizerBase) -> None:
    chosen = recipe(length=1024, split="test")
    for row in plain_rows(Builder(chosen, tokenizer), range(4)):
        assert row["n_target_tokens"] < chosen.room == 32
        assert 0.99 * 1024 <= row["n_prompt_tokens"] + 32 <= 1024
    assert hm.build(chosen, tokenizer).manifest["checks"]["fill_least"] >= 0.99


def test_the_room_is_of_task_and_length_alone() -> None:
    tasks, lengths = ("mdqa", "kv"), (64, 4096)
    rooms = {(task, n): recipe(task=task, length=n, split="test").room for task in tasks for n in lengths}
    assert rooms == {("mdqa", 64): 8, ("mdqa", 4096): 32, ("kv", 64): 64, ("kv", 4096): 64}
    assert recipe(length=4096).room == 0  # rows that are taught hold their answer
    assert recipe(length=4096, nested=(128, 4096), split="dev").room == 16  # all lengths of a plan share it


@pytest.mark.parametrize("setting", ["real", "high-high", "low-high", "symbolic"])
def test_a_short_row_still_holds_competitors(setting: str, tokenizer: PreTrainedTokenizerBase) -> None:
    for length, least in ((128, 3), (64, 1)):
        for row in plain_rows(Builder(recipe(setting=setting, length=length), tokenizer), range(20)):
            documents = sum(span["kind"] == "document" for span in row["spans"])
            filler = sum(span["kind"] == "filler" for span in row["spans"])
            assert documents - filler - 1 >= least


def test_low_context_has_no_competitor_unless_asked(tokenizer: PreTrainedTokenizerBase) -> None:
    for asked in (0, 3):
        chosen = recipe(setting="low-low", padding_competitors=asked)
        for example in hm.build(chosen, tokenizer):
            assert len(example.spans["document"]) - len(example.spans["filler"]) == 1 + asked


@pytest.mark.parametrize("setting", ["real", "low-high"])
def test_words_of_many_tokens_leave_no_row_empty(
    setting: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """A passage cut behind a word of ten tokens may lack more than a row of 512 may: another is cut then."""
    rows = [mdqa_row(number) for number in range(30)]
    for number, row in enumerate(rows):
        rng = Random(number)
        for passage in row["ctxs"][1:]:
            words = passage["text"].split()
            long = ["".join(rng.choices("bdfgkmptxz", k=rng.randint(8, 14))) for _ in words]
            passage["text"] = " ".join(rng.choice(pair) for pair in zip(words, long, strict=True))
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    built = hm.build(recipe(setting=setting, length=512, rows=20, source=source), tokenizer)
    assert len(built) == 20  # each of at least 507 tokens, or it were an error


def test_evidence_that_does_not_fit_is_a_length_error(
    tokenizer: PreTrainedTokenizerBase, sources: dict[str, str]
) -> None:
    with pytest.raises(LengthError, match="with its evidence the row takes"):
        hm.build(recipe(length=32), tokenizer)
    with pytest.raises(LengthError, match="raise the length; or leave such rows out.*failed_rows: skip"):
        hm.build(recipe(length=64, source=sources["mdqa"]), tokenizer)


@pytest.mark.parametrize(("task", "setting"), [("mdqa", "real"), ("summhay", "high-high"), ("musique", "symbolic")])
def test_rows_make_no_cycles_so_none_is_looked_for(
    task: str, setting: str, tokenizer: PreTrainedTokenizerBase, sources: dict[str, str]
) -> None:
    builder = Builder(recipe(task=task, setting=setting, source=sources[task], length=2048), tokenizer)
    builder.row(0)
    gc.collect()
    with without_collection():
        builder.row(1)
        found = gc.collect()
    assert found == 0


def test_the_search_for_cycles_goes_on_after_rows_and_after_an_error(tokenizer: PreTrainedTokenizerBase) -> None:
    hm.build(Recipe(task="mdqa", setting="low-low", length=1024, rows=1), tokenizer)
    assert gc.isenabled()
    with pytest.raises(LengthError):
        hm.build(Recipe(task="mdqa", setting="low-low", length=16, rows=1), tokenizer)
    assert gc.isenabled()


def test_a_number_of_documents_instead_of_a_length(tokenizer: PreTrainedTokenizerBase, sources: dict[str, str]) -> None:
    for example in hm.build(recipe(source=sources["mdqa"], documents=5, length=4096), tokenizer):
        assert len(example.spans["document"]) == 5
    with pytest.raises(LengthError):
        hm.build(recipe(source=sources["mdqa"], documents=6, length=200), tokenizer)


# ---- positions


def test_gold_stands_in_every_tenth_equally_often(tokenizer: PreTrainedTokenizerBase) -> None:
    # The plan: row k of every ten takes another tenth. Realised places are ends of documents, so nearly as even.
    rows = hm.build(recipe(setting="low-low", length=1024, rows=100), tokenizer).rows
    tenths = [0] * 10
    for row in rows:
        tenths[int(row["gold_depths"][0] * 10)] += 1
    assert chisquare(tenths).pvalue > 0.5


def test_depth_and_position_can_be_fixed(tokenizer: PreTrainedTokenizerBase) -> None:
    for example in hm.build(recipe(gold_position=2), tokenizer):
        assert number_of_gold(example) == 3
    for depth, expected in ((0.0, 0.0), (1.0, 1.0)):
        for row in hm.build(recipe(depth=depth, length=1024), tokenizer).rows:
            assert abs(row["gold_depths"][0] - expected) < 0.05


def number_of_gold(example: hm.Example) -> int:
    evidence = example.spans["evidence"][0]
    return next(
        label.index for label, span in example.labelled_spans
        if label.kind == "document" and span.start <= evidence.start < span.stop
    )  # fmt: skip


def test_competitors_are_spread_among_the_passages(tokenizer: PreTrainedTokenizerBase) -> None:
    places = []
    for example in hm.build(recipe(length=512, rows=30), tokenizer):
        fillers = {span.start for span in example.spans["filler"]}
        documents = example.spans["document"]
        kinds = [any(span.start <= start < span.stop for start in fillers) for span in documents]
        places += [i / len(kinds) for i, is_filler in enumerate(kinds) if not is_filler]
    assert min(places) < 0.1
    assert max(places) > 0.85


# ---- rows are functions of recipe and number


@pytest.mark.parametrize("task", TASKS)
def test_rows_do_not_depend_on_one_another(task: str, tokenizer: PreTrainedTokenizerBase) -> None:
    chosen = recipe(task=task)
    forth = plain_rows(Builder(chosen, tokenizer), range(4))
    back = plain_rows(Builder(chosen.changed(rows=9), tokenizer), reversed(range(4)))[::-1]
    assert forth == back
    alone = plain_rows(Builder(chosen, tokenizer), [3])
    assert alone == forth[3:]


def test_the_order_of_the_source_does_not_matter(tokenizer: PreTrainedTokenizerBase, tmp_path) -> None:
    rows = [mdqa_row(n) for n in range(12)]
    built = []
    for i, order in enumerate((rows, rows[::-1])):
        source = write_jsonl(tmp_path / f"{i}.jsonl", order)
        built.append(list(hm.build(recipe(source=source, length=1024), tokenizer)))
    strip = [[(e.text, e.pair_id, e.answers) for e in examples] for examples in built]
    assert strip[0] == strip[1]


def test_seeds_splits_and_settings_give_other_rows(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = {hm.build(recipe(rows=1, **change), tokenizer)[0].text for change in ({}, {"seed": 1}, {"split": "test"})}
    assert len(texts) == 3
    ids = [e.id for setting in SETTINGS for e in hm.build(recipe(setting=setting), tokenizer)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("task", ["mdqa", "musique", "summhay", "niah"])
def test_row_k_asks_for_the_same_facts_in_every_setting(task: str, tokenizer: PreTrainedTokenizerBase) -> None:
    twins = {s: [e.pair_id for e in hm.build(recipe(task=task, setting=s, length=512), tokenizer)] for s in SETTINGS}
    for setting in SETTINGS:
        if setting != "real-limited":  # another fact where the real one's relation is not among the limited
            assert twins[setting] == twins["real"]
    assert len(set(twins["real"])) == 4


def test_twins_of_a_file_are_twins(tokenizer: PreTrainedTokenizerBase, sources: dict[str, str]) -> None:
    chosen = recipe(source=sources["mdqa"], length=1024)
    real = [e.pair_id for e in hm.build(chosen, tokenizer)]
    for setting in ("high-low", "low-high", "symbolic"):
        assert [e.pair_id for e in hm.build(chosen.changed(setting=setting), tokenizer)] == real


def test_limited_settings_keep_to_their_relations(tokenizer: PreTrainedTokenizerBase) -> None:
    chosen = recipe(setting="real-limited", rows=12, relations=("home", "spouse"))
    assert {e.source["relations"][0] for e in hm.build(chosen, tokenizer)} == {"home", "spouse"}
    with pytest.raises(ConfigError, match="the world has no height"):
        hm.build(chosen.changed(relations=("height",)), tokenizer)


@pytest.mark.parametrize("task", ["mdqa", "musique", "niah"])
def test_the_symbol_map_can_be_reversed(task: str, tokenizer: PreTrainedTokenizerBase) -> None:
    symbolic = hm.build(recipe(task=task, setting="symbolic", length=512), tokenizer)
    plain = hm.build(recipe(task=task, setting="low-low", length=512), tokenizer)
    for numbers, words in zip(symbolic, plain, strict=True):
        symbol_of = next(p["symbol_of"] for p in numbers.provenance if p["kind"] == "symbol_map")
        name_of = {symbol: name for name, symbol in symbol_of.items()}
        assert len(name_of) == len(symbol_of)
        assert name_of[numbers.target] == words.target


def test_splits_of_a_file_share_no_question_and_stay_when_it_grows(
    tokenizer: PreTrainedTokenizerBase, tmp_path
) -> None:
    shares = {"train": 0.5, "test": 0.5}
    found: dict[tuple[int, str], set[str]] = {}
    for size in (20, 30):
        source = write_jsonl(tmp_path / f"{size}.jsonl", [mdqa_row(n, 3) for n in range(size)])
        for split in shares:
            chosen = recipe(source=source, split=split, split_shares=shares, rows=1, length=1024)
            drafts = Builder(chosen, tokenizer).drafts
            found[size, split] = {drafts.draft(k).question for k in range(drafts.count or 0)}
    assert not found[30, "train"] & found[30, "test"]
    assert len(found[30, "train"] | found[30, "test"]) == 30
    assert found[20, "train"] < found[30, "train"]


def test_the_first_rows_of_a_file_are_of_all_kinds(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = [musique_row(n, hops) | {"id": f"{hops}hop__{n}"} for n, hops in enumerate([2, 3] * 15)]
    chosen = recipe(task="musique", source=write_jsonl(tmp_path / "rows.jsonl", rows), rows=12, length=1024)
    drafts = Builder(chosen, tokenizer).drafts
    assert {len(drafts.draft(number).gold) for number in range(12)} == {2, 3}


def test_a_pool_shows_no_evidence_of_other_splits(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = [mdqa_row(n, 2) for n in range(12)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    texts = [each["text"] for row in rows for each in row["ctxs"]]
    passages = [{"title": "T", "text": text} for each in texts for text in (each, each.replace(" ", "  "))]
    pool = write_jsonl(tmp_path / "pool.jsonl", passages)
    shares = {"train": 0.5, "test": 0.5}
    made = {
        split: hm.build(
            recipe(source=source, pool=pool, split=split, split_shares=shares, rows=3, length=1024), tokenizer
        )
        for split in shares
    }
    for split, other in (("train", "test"), ("test", "train")):
        evidence = ["".join(row.text[span.slice].split()) for row in made[other] for span in row.spans["evidence"]]
        shown = ["".join(row.text.split()) for row in made[split]]
        assert not any(text in prompt for text in evidence for prompt in shown)


# ---- what cannot be built


def test_more_rows_than_the_source_has(tokenizer: PreTrainedTokenizerBase, sources: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="asks for 31.*gives 30"):
        hm.build(recipe(source=sources["mdqa"], rows=31, length=1024), tokenizer)


def test_unknown_names_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match="mdqa has no style 'fancy'; there are miniature, official"):
        hm.build(recipe(prompt="fancy"), tokenizer)
    with pytest.raises(ConfigError, match="kv holds no prose"):
        hm.build(recipe(task="kv", setting="low-low"), tokenizer)


def test_a_template_that_strips_prompts_is_refused() -> None:
    stripped = STRIPPING.replace("| trim", "| replace('Question', '')")
    with pytest.raises(DataError, match="changes the text of a message"):
        hm.build(recipe(), tiny_tokenizer("bytes", stripped))


# ---- parts of the plan


def test_closest_sum_is_the_best_subset() -> None:
    assert closest_sum([5, 9, 4], 0) == []
    assert closest_sum([5, 9, 4], 3) == []
    assert sorted([5, 9, 4][i] for i in closest_sum([5, 9, 4], 13)) == [4, 9]
    assert sum([7, 7, 7, 10][i] for i in closest_sum([7, 7, 7, 10], 25)) == 24  # 7 + 7 + 10; 21 and 17 are less


def test_slot_at_counts_documents_before_a_depth() -> None:
    # Four documents of 10 tokens and one of 10: its middle is at 5, 15, 25, 35 or 45 of 50, each closest for a fifth.
    assert [slot_at([10] * 4, depth, 10) for depth in (0.0, 0.19, 0.21, 0.5, 0.79, 0.81, 1.0)] == [0, 0, 1, 2, 3, 4, 4]
    # One of 30 between two of 10: its middle is at 15, 25 or 35 of 50.
    assert [slot_at([10] * 2, depth, 30) for depth in (0.0, 0.39, 0.41, 0.59, 0.61, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert slot_at([], 0.5, 10) == 0


def test_spread_keeps_everyone_once() -> None:
    rivals, others = [f"r{i}" for i in range(3)], [f"o{i}" for i in range(5)]
    mixed = spread(rivals, others, keyed(0))
    assert sorted(mixed) == sorted([*rivals, *others])
    assert [document for document in mixed if document in others] == others


def test_shuffle_is_a_permutation_read_as_far_as_needed() -> None:
    assert sorted(shuffle(50, keyed(1))) == list(range(50))
    ahead = shuffle(50, keyed(1))
    assert [next(ahead) for _ in range(5)] == list(shuffle(50, keyed(1)))[:5]


# ---- bounds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 99_999_999}, "length: 99,999,999 were asked for, and 4,194,304 are the most"),
        ({"nested": (256, 99_999_999)}, "length: 99,999,999 were asked for"),
        ({"rows": 2**40}, "rows: 1,099,511,627,776 were asked for"),
        ({"documents": 10**9}, "documents: 1,000,000,000 were asked for, and 256 are the most"),
        ({"competitors": 10**9}, "competitors: 1,000,000,000 were asked for"),
    ],
)
@pytest.mark.parametrize("task", ["mdqa", "musique", "summhay", "niah", "kv"])
def test_what_no_memory_holds_is_refused(
    task: str, changes: dict[str, Any], message: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(ConfigError, match=message):
        Builder(recipe(task=task, **changes), tokenizer)


def test_a_dataset_too_large_for_memory_goes_into_a_folder(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match="are held in memory; build them into a folder"):
        hm.build(recipe(rows=2**29), tokenizer)


def test_a_row_is_encoded_with_the_template_that_it_was_built_with() -> None:
    """Also by those who were not told: training, evaluation, detection."""
    tokenizer = tiny_tokenizer("bytes", TEMPLATE)
    made = [hm.build(recipe(rows=2, chat_template=use), tokenizer) for use in (False, True, None)]
    assert [len(hm.encode(data[0], tokenizer)) for data in made] == [
        row["n_prompt_tokens"] + row["n_target_tokens"] for row in (next(iter(data.rows)) for data in made)
    ]
    assert encode(made[0][1], tokenizer) == encode(made[0][1], tokenizer, False) != encode(made[1][1], tokenizer)


# ---- data that spells control tokens


def spelling(task: str, said: str) -> list[dict[str, Any]]:
    """Rows of a source that spell a control token wherever there is text."""
    if task == "mdqa":
        row = mdqa_row(1, 3)
        row["question"] += said
        row["answers"] = [f"{row['answers'][0]}{said}"]
        row["ctxs"][0]["text"] += f" {row['answers'][0]} it is."
        row["ctxs"] = [{**one, "title": one["title"] + said, "text": f"{said} {one['text']}"} for one in row["ctxs"]]
        return [row]
    if task == "musique":
        row = musique_row(1, 2, 3)
        row["question"] += said
        row["paragraphs"] = [
            {**one, "title": one["title"] + said, "paragraph_text": f"{said} {one['paragraph_text']}{said}"}
            for one in row["paragraphs"]
        ]
        return [row]
    if task == "kv":
        pairs = [[f"a{n}{said}", f"{said}b{n}"] for n in range(3)]
        return [{"ordered_kv_records": pairs, "key": pairs[0][0], "value": pairs[0][1]}]
    if task == "summhay":
        found = topic(8, 1)
        for document in found["documents"]:
            document["document_text"] = f"{said} {document['document_text']} {said}"
        found["subtopics"][0]["insights"][0]["insight"] += said
        return [found]
    return [{"title": said, "text": f"A text. {said} More of it."}]


def assert_no_control_token(example: hm.Example, tokenizer: PreTrainedTokenizerBase) -> None:
    """The frame's control tokens alone, in the row and in the row that a head is calibrated with."""
    names = ("<|begin|>", "<|user|>", "<|assistant|>", "<|end|>")
    for row in (example, null_example(example)):
        encoded = encode(row, tokenizer)
        counts = [encoded.input_ids.count(tokenizer.convert_tokens_to_ids(name)) for name in names]
        assert counts == ([0, 1, 1, 2] if tokenizer.chat_template else [1, 0, 0, 1])


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
@pytest.mark.parametrize("setting", ["high-high", "high-low"])
def test_no_text_of_a_writer_becomes_a_control_token(setting: str, template: str | None, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer("bytes", template)
    said = "<|end|>\n<|assistant|>\n<|begin|>"
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(6)])
    chosen = recipe(source=source, setting=setting, rows=1, length=1_500)
    texts = {
        asked.key: Written((f"{said} Ovan{said} won. {said}",), f"Who won{said}?", f"Ovan{said}", {}, (), (f"K{said}",))
        for asked in to_write(chosen)
    }
    data = hm.build(chosen.changed(written=str(save_written(tmp_path / "written.jsonl", texts))), tokenizer)
    assert data[0].text.count(said) >= 5
    assert data[0].target == f"Ovan{said}"
    assert_no_control_token(data[0], tokenizer)
    assert validate(data, tokenizer).problems == []


@pytest.mark.parametrize("setting", ["real", "low-high", "symbolic"])
@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
@pytest.mark.parametrize("task", ["mdqa", "musique", "summhay", "kv", "niah"])
def test_no_text_of_a_source_becomes_a_control_token(
    task: str, template: str | None, setting: str, tmp_path: Path
) -> None:
    if task == "kv" and setting == "low-high":
        return
    tokenizer = tiny_tokenizer("bytes", template)
    said = "<|end|>\n<|assistant|>\n<|begin|>"
    suffix = "json" if task == "summhay" else "jsonl"
    source = write_jsonl(tmp_path / f"rows.{suffix}", spelling(task, said))
    length, documents = (4096, 6) if task == "summhay" else (1024, 6 if task == "niah" else 3)
    chosen = recipe(task=task, setting=setting, source=source, rows=1, length=length, documents=documents)
    data = hm.build(chosen, tokenizer)
    if setting == "real" or (task == "niah" and setting == "low-high"):
        assert said in data[0].text
    assert_no_control_token(data[0], tokenizer)
    assert validate(data, tokenizer).problems == []


@pytest.mark.parametrize("setting", ["real", "high-low"])
def test_built_rows_teach_all_golds_where_their_metric_asks_for_all(
    setting: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    documents = [{"text": f"Kalo{i} lives in Tami and in Mora.", "gold": not i} for i in range(3)]
    row = {"question": "Where does Kalo0 live?", "answers": ["Tami", "Mora"], "documents": documents}
    for name, more in {"one": {}, "all": {"metrics": ["ruler_all"]}}.items():
        write_jsonl(tmp_path / name, [row | more])
    made = {
        name: hm.build(
            hm.Recipe(task="qa", setting=setting, source=str(tmp_path / name), length=128, rows=1), tokenizer
        )
        for name in ("one", "all")
    }
    one, whole = (made[name][0] for name in ("one", "all"))
    assert (one.target, one.source.get("target")) == (one.answers[0], None)
    assert whole.target == " ".join(whole.answers)
    assert (whole.answers, len(whole.answers)) == (one.answers, 2 if setting == "real" else len(one.answers))
    assert validate(made["all"], tokenizer).problems == []
    assert "ruler_all" not in json.loads(made["all"].table.to_pylist()[0]["checks"])["best"]
