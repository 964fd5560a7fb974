"""Laws of fitting: pieces add up, twins match to the token, planned positions are even, sums of costs are exact."""

import json
from collections import Counter, defaultdict
from typing import Any, get_args

import pytest
from real_rows import mdqa_row, musique_row, write_jsonl
from scipy.stats import chisquare
from tiny_tokenizers import KINDS, TEMPLATE, tiny_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from haymaker.config import Recipe, Setting
from haymaker.data.builder import Builder
from haymaker.data.fit.matched import matched_starts
from haymaker.data.fit.measure import Measure
from haymaker.data.fit.place import STRATA, merged, parts_around, planned_depths, shared_out
from haymaker.data.fit.stream import Stream, closest_sum, exact_sum, reserve_of
from haymaker.data.schema import example_of, table_of, token_spans_of
from haymaker.drafts import Document
from haymaker.errors import ConfigError, LengthError
from haymaker.randomness import keyed
from haymaker.records import Label, Segment
from haymaker.tasks.mdqa import MINIATURE, OFFICIAL
from haymaker.tokens import encode

SETTINGS: tuple[Setting, ...] = get_args(Setting)


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


# ---- pieces


# Tokenizers that cut at blanks alone join a document's end, the line break and the next one's number.
CLOSED = [(kind, style) for kind in KINDS for style in (MINIATURE, OFFICIAL)]
CLOSED = [found for found in CLOSED if found not in (("unigram", MINIATURE), ("llama2", MINIATURE))]


@pytest.mark.parametrize(("kind", "style"), CLOSED)
def test_no_token_crosses_the_cut_between_pieces(kind: str, style) -> None:
    measure = Measure(tiny_tokenizer(kind), style, None)
    documents = [Document(text, (Segment(text),), title="Physics") for text in ("It ends.", "It goes on", "a (b)", "7")]
    assert all(piece.closed for piece in measure.pieces(documents))


def test_the_cut_is_where_the_tokenizer_parts(tokenizer: PreTrainedTokenizerBase) -> None:
    # The world's tokenizer has "\n[" as one token: the cut is before or behind it.
    assert Measure(tokenizer, MINIATURE, None).cut in (0, 2)
    # One that hangs line breaks on the sign before them, as Llama 3's does, is cut behind the break.
    hanging = tiny_tokenizer("bytes")
    words = pre_tokenizers.Split(Regex(r" ?\w+| ?[^\s\w]+\n*|\s"), "isolated")
    backend = Tokenizer.from_str(hanging.backend_tokenizer.to_str())  # type: ignore[attr-defined]
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    backend.add_tokens([AddedToken(".\n", normalized=False)])
    measure = Measure(PreTrainedTokenizerFast(tokenizer_object=backend), OFFICIAL, None)
    assert measure.cut == 1
    document = Document("x", (Segment("It ends."),), title="Physics")
    assert measure.pieces([document])[0].closed


@pytest.mark.parametrize(
    "last", ["It ends.", 'He said "no".', "(r. 997-1029).", "a", "It is 7", "One two three four five"]
)
@pytest.mark.parametrize("kind", ["bytes", "digits", "wordpiece"])
def test_an_ending_counts_what_follows_the_last_document(kind: str, last: str) -> None:
    tokenizer = tiny_tokenizer(kind, TEMPLATE)
    measure = Measure(tokenizer, OFFICIAL, None)
    document = Document(last, (Segment(last, (Label("filler"),)),), title="Physics")
    opening, ending = measure.ends.opening(document), measure.ends.ending(document, "What is it?")
    body = OFFICIAL.head + OFFICIAL.around("Physics", 1)[0] + last + OFFICIAL.tail.format(question="What is it?")
    whole = len(tokenizer(measure.rendered(body), add_special_tokens=False)["input_ids"])
    assert ending.closed
    assert opening.tokens + measure.costs([document])[0] + ending.tokens == whole


def test_a_document_is_measured_once_and_forgotten_last(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haymaker.data.fit.measure.KEPT_PIECES", 3)
    measure = Measure(tokenizer, MINIATURE, None)
    documents = [Document(str(n), (Segment(f"It is {n}."),)) for n in range(8)]
    measure.costs(documents[:1])
    for document in documents[1:]:
        measure.costs([documents[0], document])
    before = measure.spent
    measure.costs(documents[:1])
    assert measure.spent == before  # asked for all the while, so it is still here
    measure.costs(documents[1:2])
    assert measure.spent > before  # not asked for since, so it had to go


@pytest.mark.parametrize("setting", SETTINGS)
def test_little_is_tokenised_in_vain(setting: str, tokenizer: PreTrainedTokenizerBase) -> None:
    builder = Builder(Recipe(task="mdqa", setting=setting, rows=1, length=8192), tokenizer)  # type: ignore[arg-type]
    builder.measure.numbering(1000)
    builder.check_counts()  # its row is tokenised once more
    start = builder.measure.spent
    emitted = sum(builder.row(number)["n_prompt_tokens"] for number in range(4))
    assert (builder.measure.spent - start) / emitted <= 1.05


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
        checks = json.loads(row["checks"])
        assert checks["counted"]
        assert not checks["leaks"]


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


def test_rivals_that_leave_no_room_to_match_are_left_out(tmp_path) -> None:
    """As many as the row could hold would fill it to the brim, and not to the token."""
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(20)])
    asked = {"setting": "low-high", "matched": True, "length": 1024, "source": source}
    many, few = (rows_of(tiny_tokenizer("bytes"), 6, **asked, competitors=count) for count in (60, 1))
    assert list(map(evidence_starts, many)) == list(map(evidence_starts, few))
    assert {row["n_prompt_tokens"] + row["n_target_tokens"] for row in many} == {1024}


def test_twins_that_cannot_match_are_errors(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LengthError, match="matched: .* raise the length"):
        rows_of(tokenizer, 6, task="kv", length=512, matched=True)
    with pytest.raises(ConfigError, match="nested cannot be given too"):
        rows_of(tokenizer, 1, matched=True, nested=(512,))
    monkeypatch.setattr(Measure, "best_cut", lambda self: 1)  # in the middle of the token "\n["
    with pytest.raises(LengthError, match="use another tokenizer or prompt|raise the length"):
        rows_of(tokenizer, 1, matched=True)


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
    for row in rows_of(tiny_tokenizer("digits"), 25, task=task, setting="symbolic", length=1024):
        assert row["n_prompt_tokens"] + row["n_target_tokens"] >= 1020


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
    stream = Stream(iter(documents), Measure(tokenizer, MINIATURE, None))
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
