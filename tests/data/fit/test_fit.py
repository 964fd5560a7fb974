"""Laws of fitting: rows are full, twins match to the token, planned positions are even, sums of costs are exact."""

import json
from collections import Counter, defaultdict
from typing import Any

import pytest
from real_rows import mdqa_row, musique_row, write_jsonl
from scipy.stats import chisquare
from tiny_tokenizers import KINDS, TEMPLATE, tiny_tokenizer
from transformers import PreTrainedTokenizerBase

from haymaker.choices import SETTINGS
from haymaker.config import Recipe
from haymaker.data.builder import Builder
from haymaker.data.fit.costs import Costs
from haymaker.data.fit.matched import matched_starts
from haymaker.data.fit.page import Page, write
from haymaker.data.fit.place import STRATA, merged, parts_around, planned_depths, shared_out
from haymaker.data.fit.stream import Stream, closest_sum, exact_sum, reserve_of
from haymaker.data.fit.together import together
from haymaker.data.schema import example_of, table_of, token_spans_of
from haymaker.drafts import Document, Draft, Style
from haymaker.errors import ConfigError, LengthError
from haymaker.randomness import keyed
from haymaker.realism.context import world_passages
from haymaker.realism.symbols import Symbols, dictionary
from haymaker.records import Label, Segment
from haymaker.tasks.mdqa import DICTIONARIES, MINIATURE, OFFICIAL
from haymaker.tasks.niah import HAYSTACK
from haymaker.tokens import Aligner, encode


def rows_of(tokenizer: PreTrainedTokenizerBase, rows: int = 4, **changes: Any) -> list[dict[str, Any]]:
    builder = Builder(Recipe(**({"task": "mdqa", "rows": rows, "length": 512} | changes)), tokenizer)
    return table_of([builder.row(number) for number in range(rows)]).to_pylist()


def check_counts(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    """What was counted is what the whole prompt has, tokenised by the one function that aligns."""
    encoded = encode(example_of(row), tokenizer)
    assert (encoded.prompt_length, len(encoded)) == (
        row["n_prompt_tokens"], row["n_prompt_tokens"] + row["n_target_tokens"]
    )  # fmt: skip
    assert sorted(encoded.labelled_spans) == sorted(token_spans_of(row))


# ---- costs


def costs_of(tokenizer: PreTrainedTokenizerBase, style: Style, template: bool | None = None) -> Costs:
    return Costs(Aligner(tokenizer, template), style)


@pytest.mark.parametrize("style", [MINIATURE, OFFICIAL], ids=["miniature", "official"])
@pytest.mark.parametrize("kind", ["bytes", "digits", "wordpiece"])
def test_costs_add_up_to_the_whole_prompt(kind: str, style: Style) -> None:
    """Where no token holds the ends of two documents; elsewhere they are a little off, and the plan is repaired."""
    tokenizer = tiny_tokenizer(kind, TEMPLATE)
    costs, texts = costs_of(tokenizer, style), ("It ends.", "He said no.", "It is 7.", "One two three.")
    documents = [Document(text, (Segment(text, (Label("filler"),)),), title="Physics") for text in texts]
    draft = Draft("What is it?", ("7",), (), (), further=lambda: iter(()), facts=[])
    page = together({0: write(draft, documents, style, costs.aligner, "a row")}, costs.aligner)[0]
    assert isinstance(page, Page)
    planned = sum(costs.of(documents)) + costs.numbers(len(documents)) + sum(costs.around("What is it?"))
    assert page.prompt_tokens == planned


def test_numbers_cost_what_their_digits_do() -> None:
    # Of [1] to [12] three have a digit more, a token each for a tokenizer that parts digits.
    assert costs_of(tiny_tokenizer("digits"), MINIATURE).numbers(12) == 3
    assert costs_of(tiny_tokenizer("digits"), MINIATURE).numbers(2, first=99) == 1 + 2
    assert costs_of(tiny_tokenizer("digits"), HAYSTACK).numbers(500) == 0


def test_a_document_is_counted_once_and_forgotten_last(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haymaker.data.fit.costs.KEPT", 3)
    costs = costs_of(tokenizer, MINIATURE)
    documents = [Document(str(n), (Segment(f"It is {n}."),)) for n in range(8)]
    costs.of(documents[:1])
    for document in documents[1:]:
        costs.of([documents[0], document])
    before = costs.aligner.spent
    costs.of(documents[:1])
    assert costs.aligner.spent == before  # asked for all the while, so it is still here
    costs.of(documents[1:2])
    assert costs.aligner.spent > before  # not asked for since, so it had to go


def test_a_sample_stands_for_documents_of_its_kind(tokenizer: PreTrainedTokenizerBase) -> None:
    costs = costs_of(tokenizer, DICTIONARIES)
    symbols = Symbols(keyed(1), 3)
    some = [dictionary(symbols.some(2 * size)) for size in (1, 2, 3) for _ in range(40)]
    costs.sample(some, 4096)
    spent = costs.aligner.spent
    others = [dictionary(symbols.some(2 * size)) for size in (1, 2, 3) for _ in range(40)]
    judged = costs.of(others)
    assert costs.aligner.spent == spent
    assert sum(judged) == pytest.approx(sum(costs.count(others)), rel=0.02)
    assert costs.closely(others) == pytest.approx(costs.count(others), abs=2)


@pytest.mark.parametrize("said", ["", "It is red."])
def test_a_document_made_from_a_text_costs_that_text_and_what_was_put_into_it(said: str) -> None:
    costs = costs_of(tiny_tokenizer("bytes"), HAYSTACK)
    text = "The grass is green. The sky is blue. " * 5
    whole = Document("whole", (Segment(text + said),), host=text, inserted=said)
    counted = costs.count([Document("counted", (Segment(text + said),))])
    costs.count([Document("host", (Segment(text),))])
    spent = costs.aligner.spent
    assert costs.count([whole])[0] == pytest.approx(counted[0], abs=1)
    assert costs.aligner.spent - spent <= counted[0] / 10


@pytest.mark.parametrize("setting", SETTINGS)
def test_little_is_tokenised_in_vain(setting: str, tokenizer: PreTrainedTokenizerBase) -> None:
    builder = Builder(Recipe(task="mdqa", setting=setting, rows=4, length=8192), tokenizer)  # type: ignore[arg-type]
    builder.row(0)  # what is learnt once for all rows
    start = builder.costs.aligner.spent
    emitted = sum(builder.row(number)["n_prompt_tokens"] for number in range(1, 4))
    assert (builder.costs.aligner.spent - start) / emitted <= 1.2


@pytest.mark.parametrize(("length", "most"), [(4_096, 2.2), (32_768, 1.4)])
@pytest.mark.parametrize("task", ["mdqa", "kv", "summhay"])
def test_a_row_alone_costs_little_too(task: str, length: int, most: float, tokenizer: PreTrainedTokenizerBase) -> None:
    """The sample, the row, and hardly ever the row again: nothing waits for the rows that share counts."""
    for setting in ("real", "symbolic"):
        builder = Builder(Recipe(task=task, setting=setting, rows=1, length=length), tokenizer)  # type: ignore[arg-type]
        row = builder.row(0)
        assert builder.costs.aligner.spent <= most * (row["n_prompt_tokens"] + row["n_target_tokens"])


@pytest.mark.parametrize(("task", "setting"), [("kv", "symbolic"), ("niah", "symbolic"), ("summhay", "real")])
def test_the_first_plan_is_nearly_always_right(task: str, setting: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Also of records that are alike in length and not in tokens: by chance a row is off by less than it may."""
    builder = Builder(Recipe(task=task, setting=setting, rows=17, length=4096), tokenizer)  # type: ignore[arg-type]
    builder.row(0)  # with what is learnt once
    start = builder.costs.aligner.spent
    table, _ = builder.table(range(1, 17))
    emitted = sum(sum(table[name].to_pylist()) for name in ("n_prompt_tokens", "n_target_tokens"))
    assert builder.costs.aligner.spent - start <= 1.15 * emitted


def test_documents_are_judged_by_their_length_where_that_tells_enough(tokenizer: PreTrainedTokenizerBase) -> None:
    """Words of one length, a fifth of them of two tokens: chance shows in rows of few documents."""
    words = {word for document in world_passages("train", 0)[:200] for word in document.text.split() if len(word) == 5}
    pieces = {word: len(tokenizer.encode(f" {word}", add_special_tokens=False)) for word in sorted(words)}
    one, two = (next(word for word, count in pieces.items() if count == wanted) for wanted in (1, 2))
    rng = keyed(1)
    texts = [" ".join(two if rng.random() < 0.2 else one for _ in range(40)) for _ in range(800)]
    documents = [Document(str(n), (Segment(text),), kind="words") for n, text in enumerate(texts)]
    for length, by_length in ((4_096, False), (131_072, True)):
        costs = costs_of(tokenizer, DICTIONARIES)
        costs.sample(documents[:400], length)
        assert bool(costs.rates) == by_length
        assert sum(costs.of(documents[400:])) == pytest.approx(sum(costs.count(documents[400:])), rel=0.01)


def test_short_rows_and_twins_are_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    for values, is_counted in (
        ({"length": 2047}, True),
        ({"length": 4096, "matched": True}, True),
        ({"length": 2048}, False),
    ):
        builder = Builder(Recipe(task="mdqa", rows=1, **values), tokenizer)  # type: ignore[arg-type]
        builder.row(0)
        assert (builder.costs.judge is None) == is_counted


def test_what_is_judged_does_not_depend_on_the_rows_before(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe = Recipe(task="summhay", rows=4, length=4096)
    forward, back = Builder(recipe, tokenizer), Builder(recipe, tokenizer)
    assert [forward.row(number) for number in range(4)] == [back.row(number) for number in (3, 2, 1, 0)][::-1]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_full_and_never_over_their_length(kind: str, setting: str) -> None:
    for row in rows_of(tiny_tokenizer(kind), 2, setting=setting, length=2_500):
        assert 0.99 * 2_500 <= row["n_prompt_tokens"] + row["n_target_tokens"] <= 2_500
        check_counts(row, tiny_tokenizer(kind))


# ---- matched twins


def evidence_starts(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(sorted(span["token_start"] for span in row["spans"] if span["kind"] == "evidence"))


def matched_rows(tokenizer: PreTrainedTokenizerBase, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows by pair, of all settings."""
    pairs = defaultdict(list)
    for setting in SETTINGS:
        for row in rows_of(tokenizer, setting=setting, matched=True, **changes):
            pairs[row["pair_id"]].append(row)
    return pairs


@pytest.mark.parametrize(("task", "length"), [("mdqa", 512), ("musique", 768), ("summhay", 1024), ("niah", 512)])
def test_twins_are_as_long_and_their_evidence_starts_at_the_same_token(
    task: str, length: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    pairs = matched_rows(tokenizer, task=task, length=length)
    whole = [rows for rows in pairs.values() if len(rows) >= len(SETTINGS) - 1]  # real-limited may ask otherwise
    assert len(whole) == 4
    for rows in pairs.values():
        assert {row["n_prompt_tokens"] + row["n_target_tokens"] for row in rows} == {length}
        assert len({evidence_starts(row) for row in rows}) == 1
    assert len({evidence_starts(rows[0]) for rows in pairs.values()}) > 2
    for row in whole[0]:
        check_counts(row, tokenizer)
        assert not json.loads(row["checks"])["leaks"]


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
@pytest.mark.parametrize("task", ["mdqa", "musique"])
def test_twins_of_files_match_too(task: str, template: str | None, tmp_path) -> None:
    made = {"mdqa": [mdqa_row(n) for n in range(20)], "musique": [musique_row(n, 2 + n % 2) for n in range(20)]}
    source = write_jsonl(tmp_path / "rows.jsonl", made[task])
    tokenizer = tiny_tokenizer("bytes", template)
    starts = defaultdict(set)
    for setting in ("real", "low-low", "high-high", "symbolic"):
        for row in rows_of(tokenizer, 2, task=task, setting=setting, matched=True, length=2048, source=source):
            assert row["n_prompt_tokens"] + row["n_target_tokens"] == 2048
            starts[row["pair_id"]].add(evidence_starts(row))
            check_counts(row, tokenizer)
    assert [len(found) for found in starts.values()] == [1, 1]


def test_twins_match_where_a_full_stop_and_what_follows_are_one_token(tmp_path) -> None:
    """Plans that end in a full stop and plans that end in a letter are off by turns there."""
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(16)])
    rows = rows_of(tiny_tokenizer("joined", TEMPLATE), 16, setting="real", matched=True, length=640, source=source)
    assert {row["n_prompt_tokens"] + row["n_target_tokens"] for row in rows} == {640}


def test_rivals_that_leave_no_room_to_match_are_left_out(tmp_path) -> None:
    """As many as the row could hold would fill it to the brim, and not to the token."""
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(20)])
    asked = {"setting": "low-high", "matched": True, "length": 1024, "source": source}
    many, few = (rows_of(tiny_tokenizer("bytes"), 6, **asked, competitors=count) for count in (60, 1))
    assert list(map(evidence_starts, many)) == list(map(evidence_starts, few))
    assert {row["n_prompt_tokens"] + row["n_target_tokens"] for row in many} == {1024}


def test_records_match_where_every_digit_is_a_token() -> None:
    """Records of digits alone are all of one size then; those of letters alone are not."""
    rows = rows_of(tiny_tokenizer("digits"), 6, task="kv", length=3072, matched=True)
    assert {row["n_prompt_tokens"] + row["n_target_tokens"] for row in rows} == {3072}


def test_twins_that_cannot_match_are_errors(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(LengthError, match="matched: .* raise the length"):
        rows_of(tokenizer, 6, task="kv", length=512, matched=True)
    with pytest.raises(ConfigError, match="nested cannot be given too"):
        rows_of(tokenizer, 1, matched=True, nested=(512,))


@pytest.mark.parametrize("hops", [1, 2, 4])
def test_matched_starts_leave_room_around_them(hops: int) -> None:
    recipe = Recipe(task="musique", rows=1, length=4096, matched=True)
    found = [sorted(matched_starts(recipe, key, hops)) for key in range(200)]
    assert min(starts[0] for starts in found) >= 512  # an eighth of the length
    assert max(starts[-1] for starts in found) < 4096 - 512
    # Each hop has its share of 3,072 tokens and starts within the first quarter of it.
    apart = [later - sooner for starts in found for sooner, later in zip(starts, starts[1:], strict=False)]
    assert hops == 1 or min(apart) >= 0.75 * 3072 / hops - 1


@pytest.mark.parametrize("task", ["mdqa", "musique", "summhay", "niah"])
def test_short_rows_of_numbers_are_filled_too(task: str) -> None:
    """Dictionaries come in steps of ten tokens, which is all that a row of 1,024 may fall short of its length.

    Finer ones close the row.
    """
    for row in rows_of(tiny_tokenizer("digits"), 10, task=task, setting="symbolic", length=1024):
        assert row["n_prompt_tokens"] + row["n_target_tokens"] >= 0.99 * 1024


# ---- positions


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
def test_every_hop_visits_every_stratum_equally_often(hops: int) -> None:
    strata = [[int(depth * STRATA) for depth in planned_depths(3, row, hops)] for row in range(900)]
    for hop in range(hops):
        assert set(Counter(row[hop] for row in strata).values()) == {90}
    assert all(len(set(row)) == hops for row in strata)


def test_hops_are_crossed_with_depth_and_with_one_another() -> None:
    # 900 rows over 90 ordered pairs of unlike strata: 10 each, give or take.
    pairs = Counter(tuple(int(depth * STRATA) for depth in planned_depths(0, row, 2)) for row in range(900))
    assert len(pairs) == 90
    assert chisquare(list(pairs.values())).pvalue > 0.01
    first = sum(early < late for (early, late), count in pairs.items() for _ in range(count))
    assert 0.45 < first / 900 < 0.55
    # Rows alternate between numbers of hops, so every second one has to be even as well.
    for turn in (0, 1):
        found = Counter(int(planned_depths(0, row, 2)[0] * STRATA) for row in range(turn, 1800, 2))
        assert chisquare(list(found.values())).pvalue > 0.01


def test_depths_do_not_depend_on_the_number_of_hops_or_rows() -> None:
    assert planned_depths(0, 17, 4)[:2] == planned_depths(0, 17, 2)
    assert planned_depths(0, 17, 2) != planned_depths(1, 17, 2)


@pytest.mark.parametrize("setting", ["low-low", "low-high", "symbolic"])
def test_realised_depths_are_even_for_every_hop(setting: str, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = rows_of(tokenizer, 60, task="musique", hops=(2,), setting=setting, length=1024)
    for hop in range(2):
        starts = [next(s for s in row["spans"] if (s["kind"], s["index"]) == ("evidence", hop)) for row in rows]
        depths = [start["token_start"] / row["n_prompt_tokens"] for start, row in zip(starts, rows, strict=True)]
        fifths = Counter(int(depth * 5) for depth in depths)
        assert chisquare([fifths[i] for i in range(5)]).pvalue > 0.05
        assert all(abs(depth - planned_depths(0, n, 2)[hop]) < 0.12 for n, depth in enumerate(depths))


# ---- sums and orders


def test_exact_sum_counts_documents_too() -> None:
    # Numbers of n documents leave 20, 19, 18 tokens: 9 + 9 = 18 with two of them.
    assert exact_sum([7, 9, 9], [20, 19, 18]) == [1, 2]
    assert exact_sum([7, 9, 9], [20, 9, 16]) == [1]  # one will do
    assert exact_sum([7, 9, 9], [20, 19, 17]) is None
    assert exact_sum([7], [-3, -4]) is None
    assert exact_sum([7], [0, 7]) == []


def test_more_room_is_left_for_documents_of_one_size() -> None:
    assert reserve_of([10, 20, 30, 40, 50, 60, 70, 80] * 3) == 180  # four of 45
    # Sums of the n largest and n smallest of these never differ by as much as one: half of all 24.
    assert reserve_of([48, 50, 52] * 8) == 600
    assert reserve_of([]) == 0


def test_merged_keeps_both_orders() -> None:
    mixed = merged(["a", "b", "c"], [1, 2, 3, 4], keyed(5))
    assert [item for item in mixed if isinstance(item, str)] == ["a", "b", "c"]
    assert [item for item in mixed if isinstance(item, int)] == [1, 2, 3, 4]


def test_documents_are_shared_out_up_to_the_tokens_wanted() -> None:
    documents = [Document(str(n), (Segment(str(n)),)) for n in range(6)]
    # 10 tokens stand before the gold one, 30 behind it; with six of 10 more, half of 100 is reached by four.
    shares = shared_out(documents, [10] * 6, [10, 30], [50.0])
    assert [[document.key for document in share] for share in shares] == [["0", "1", "2", "3"], ["4", "5"]]
    assert [len(part) for part in parts_around(documents, [0, 3])] == [0, 2, 2]


def test_a_stream_passes_over_what_a_shorter_row_holds(tokenizer: PreTrainedTokenizerBase) -> None:
    documents = [Document(str(n), (Segment(f"It is {n}."),)) for n in range(6)]
    stream = Stream(iter(documents), costs_of(tokenizer, MINIATURE))
    stream.used = frozenset({1, 3})
    assert [document.key for document in stream.take(2)] == ["0", "2"]
    assert stream.next(100)[0].key == "4"
    assert stream.ahead(5) == [5]
    stream.next(100)
    with pytest.raises(LengthError, match="all 6 further documents leave 100 tokens unfilled"):
        stream.next(100)


def test_closest_sum_agrees_with_exact_sum_where_there_is_one() -> None:
    costs = [13, 19, 25, 31]
    for total in range(1, sum(costs) + 1):
        picked = exact_sum(costs, [total] * 5)
        assert (picked is not None) == (sum(costs[i] for i in closest_sum(costs, total)) == total)
