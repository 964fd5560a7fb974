"""Score files of others: round trips, what each format holds, what is refused; query heads and KV heads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from haymaker.errors import ConfigError, DataError
from haymaker.heads.formats import HeadList, KVHead, KVScores, as_text, parse_text, read_scores, write_scores
from haymaker.heads.scores import HeadScores
from haymaker.records import Head

NAN = float("nan")
FINITE = st.floats(-10, 10, allow_subnormal=False)


def scores(values: object, metric: str = "copy") -> HeadScores:
    array = np.array(values, dtype=np.float64)
    return HeadScores(array, tuple(f"e{i}" for i in range(len(array))), metric, {"model": "owner/name"})


# Two trials of two layers with two heads; the means are (0.5, 0), (1.25, 0.1).
TWO = scores([[[1.0, 0.0], [0.5, 0.1]], [[0.0, 0.0], [2.0, 0.1]]])


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, st.tuples(*[st.integers(1, 4)] * 3), elements=FINITE))
def test_wu_json_comes_back_as_it_was(values: np.ndarray) -> None:
    back = parse_text(as_text(scores(values), "wu", 1, None, "max"), "here")
    assert isinstance(back, HeadScores)
    assert np.array_equal(back.values, values)


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, st.tuples(*[st.integers(1, 5)] * 2), elements=FINITE))
def test_duo_tsv_comes_back_as_it_was(values: np.ndarray) -> None:
    back = parse_text(as_text(KVScores(values), "duo", 1, None, "max"), "here")
    assert isinstance(back, KVScores)
    assert np.array_equal(back.values, values)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.builds(Head, st.integers(0, 90), st.integers(0, 90)), min_size=1, max_size=200, unique=True))
def test_a_qrhead_list_comes_back_as_it_was(heads: list[Head]) -> None:
    listed = HeadList(tuple(heads), {"model_base_class": "Llama-3.1-8B-Instruct"})
    text = as_text(listed, "qrhead", 1, None, "max")
    assert len(text.splitlines()) == 2, "a long list stays on one line"
    assert parse_text(text, "here") == listed


def test_wu_json_is_what_the_script_writes(tmp_path: Path) -> None:
    write_scores(TWO, tmp_path / "scores", "wu")
    expected = {"0-0": [1.0, 0.0], "0-1": [0.0, 0.0], "1-0": [0.5, 2.0], "1-1": [0.1, 0.1]}
    assert json.loads((tmp_path / "scores").read_text()) == expected
    back = read_scores(tmp_path / "scores")
    assert isinstance(back, HeadScores)
    assert back.above_one == 1, "scores above 1 are kept and told"
    assert back.top(1) == [Head(1, 0)]


def test_trials_that_do_not_count_are_left_out_and_heads_without_sight_are_null(tmp_path: Path) -> None:
    gated = scores([[[NAN, NAN]], [[0.5, NAN]], [[1.0, 0.25]]])
    write_scores(gated, tmp_path / "scores", "wu")
    assert json.loads((tmp_path / "scores").read_text()) == {"0-0": [0.5, 1.0], "0-1": [None, 0.25]}
    back = read_scores(tmp_path / "scores")
    assert isinstance(back, HeadScores)
    assert np.array_equal(back.mean, gated.mean)
    with pytest.raises(DataError, match="none of the 1 examples is counted"):
        write_scores(scores([[[NAN]]]), tmp_path / "none", "wu")
    assert not (tmp_path / "none").exists()


def test_a_list_of_the_best_heads(tmp_path: Path) -> None:
    write_scores(TWO, tmp_path / "heads", "qrhead", k=3)
    first = (tmp_path / "heads").read_text().splitlines()[0]
    assert first == "attn_head_set: 1-0,0-0,1-1"
    back = read_scores(tmp_path / "heads")
    assert isinstance(back, HeadList)
    assert back.heads == (Head(1, 0), Head(0, 0), Head(1, 1))
    assert back.about["model_base_class"] == "name"


def test_published_spellings_are_read() -> None:
    shipped = '# Default configuration\n\nattn_head_set: "14-22,13-16, 14-28" # top3\nmodel_base_class: "Llama"\n'
    assert parse_text(shipped, "x") == HeadList(
        (Head(14, 22), Head(13, 16), Head(14, 28)), {"model_base_class": "Llama"}
    )
    gates = parse_text("-9.5e-05\t1.000000000000000000e+00\n5.6e-01\t7.3e-01\n", "x")
    assert isinstance(gates, KVScores)
    assert gates.top(2) == [KVHead(0, 1), KVHead(1, 1)]


def test_a_list_keeps_its_order_as_scores() -> None:
    # Three heads: 3/3, 2/3, 1/3; all others 0.
    found = HeadList((Head(1, 0), Head(0, 1), Head(0, 0))).as_scores(2, 2)
    assert found.mean.tolist() == [[pytest.approx(1 / 3), pytest.approx(2 / 3)], [1.0, 0.0]]
    with pytest.raises(DataError, match="1-0: no such head; the model has 1 layers of 4 heads, 0-0 to 0-3"):
        HeadList((Head(1, 0),)).as_scores(1, 4)


# --- KV heads -------------------------------------------------------------------------------------------------------


def test_query_heads_make_kv_heads_by_rule() -> None:
    # Four query heads on two KV heads: groups (0.2, 0.6) and (0.0, 1.0).
    four = scores([[[0.2, 0.6, 0.0, 1.0]]])
    assert KVScores.from_heads(four, 2).values.tolist() == [[0.6, 1.0]]
    assert KVScores.from_heads(four, 2, "mean").values.tolist() == [[pytest.approx(0.4), 0.5]]
    assert KVScores.from_heads(four, 2).to_heads(4).mean.tolist() == [[0.6, 0.6, 1.0, 1.0]]


@settings(max_examples=25, deadline=None)
@given(arrays(np.float64, (3, 2), elements=FINITE), st.sampled_from(["max", "mean"]), st.integers(1, 4))
def test_spreading_to_query_heads_and_back_changes_nothing(values: np.ndarray, rule: str, group: int) -> None:
    spread = KVScores(values).to_heads(2 * group)
    assert np.allclose(KVScores.from_heads(spread, 2, rule).values, values, atol=1e-12)  # type: ignore[arg-type]


def test_a_kv_head_is_no_query_head() -> None:
    assert str(KVHead(3, 1)) == "kv 3-1"
    with pytest.raises(ValueError, match="layer-head"):
        Head.parse(str(KVHead(3, 1)))


def test_kv_heads_need_whole_groups_and_scores() -> None:
    with pytest.raises(DataError, match="4 query heads cannot share 3 KV heads"):
        KVScores.from_heads(scores([[[0.1, 0.2, 0.3, 0.4]]]), 3)
    with pytest.raises(DataError, match="1 query heads have no score"):
        KVScores.from_heads(scores([[[0.1, NAN]]]), 1)
    with pytest.raises(DataError, match="3 query heads cannot share 2 KV heads"):
        KVScores(np.ones((1, 2))).to_heads(3)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"0-0": [1.0], "L0H1": [1.0]}', "layer-head"),
        ('{"0-0": [1.0, 2.0], "0-1": [1.0]}', "found 2 heads with 1 to 2 trials"),
        ('{"0-0": [1.0], "1-1": [1.0]}', "expected 2 x 2 heads"),
        ('{"0-0": []}', "holds no trial"),
        ("{}", "holds no trial"),
        ('{"0-0": 3}', "expected"),
        ("attn_head_set: full_heads", "attn_head_set"),
        ("attn_head_set: 1-2,1-2", "stands twice"),
        ("0.5\t0.5\n0.5", "found none of them"),
        ("hello", "found none of them"),
        ("", "found none of them"),
    ],
)
def test_a_broken_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_scores(tmp_path / "broken")
    assert str(tmp_path / "broken") in str(caught.value)


def test_bad_use_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_scores(tmp_path / "missing")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="bytes that are no text"):
        read_scores(tmp_path / "bytes")
    with pytest.raises(ConfigError, match="unknown format 'xml' of head scores; known: wu, qrhead, duo"):
        write_scores(TWO, tmp_path / "x", "xml")
    with pytest.raises(ConfigError, match="give kv_heads"):
        write_scores(TWO, tmp_path / "x", "duo")
    with pytest.raises(ConfigError, match="format wu cannot hold a HeadList"):
        write_scores(HeadList((Head(0, 0),)), tmp_path / "x", "wu")


def test_haymakers_own_files_are_read_too(tmp_path: Path) -> None:
    TWO.save(tmp_path / "own.safetensors")
    back = read_scores(tmp_path / "own.safetensors")
    assert isinstance(back, HeadScores)
    assert (back.metric, back.example_ids) == (TWO.metric, TWO.example_ids)


@pytest.mark.parametrize(
    "text",
    [
        '{"0-0": [1.0], "0-0": [0.5]}',
        '{"0-0": [1.0], "0-00": [0.5]}',
        '{"0-0": [Infinity]}',
        '{"0-0": [1e999]}',
        '{"0-0": [NaN]}',
        '{"0-0": ["0.5"]}',
        '{"0-0": [true]}',
        '{"0-0": "0.5"}',
        '{"0-0": {"1-1": [1.0]}}',
        "[" * 100_000,
        '{"0-0": ' + "[" * 100_000,
        "inf\t0.5",
        "nan",
        "\t\t\n",
    ],
)
def test_what_is_no_score_is_refused_and_never_made_a_number(text: str, tmp_path: Path) -> None:
    (tmp_path / "heads").write_text(text)
    with pytest.raises(DataError, match="heads: "):
        read_scores(tmp_path / "heads")


@pytest.mark.parametrize("kv_heads", [0, -1, 3])
def test_kv_heads_that_there_cannot_be(kv_heads: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 query heads cannot share"):
        write_scores(HeadScores(np.ones((1, 2, 4)), ("a",), "copy"), tmp_path / "a.tsv", "duo", kv_heads=kv_heads)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="at least one"):
        KVScores(np.ones((2, 0)))


@pytest.mark.parametrize("name", ["wu", "csv", "qrhead"])
def test_editors_marks_and_line_ends_change_no_score(name: str, tmp_path: Path) -> None:
    write_scores(TWO, tmp_path / "plain", name)
    text = (tmp_path / "plain").read_text()
    (tmp_path / "edited").write_bytes(("\ufeff" + text.replace("\n", "\r\n")).encode())
    assert numbers(read_scores(tmp_path / "edited")) == numbers(read_scores(tmp_path / "plain"))


def numbers(found: Any) -> list[Any]:
    return list(found.heads) if isinstance(found, HeadList) else found.values.tolist()


def test_scores_as_text_are_read_up_to_a_bound_and_safetensors_beyond_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a text says takes many times its bytes; a safetensors file takes its own."""
    monkeypatch.setattr("haymaker.heads.formats.MOST_AT_ONCE", 8)
    path = tmp_path / "scores"
    for content, said in (
        (b"{}       ", "9 bytes, too many to read; expected at most 8"),
        (b"\0" * 8 + b"{", "not head"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_scores(path)
