"""Detection through models: against oracles of eager attention, in batches, windows, adapters, own answers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from any_architecture import tiny
from tiny_models import tiny_model
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from haymaker.choices import DETECTORS
from haymaker.errors import ConfigError, DataError, LengthError, ModelError, PluginError, ProbeError
from haymaker.heads.detection import detect_all, detect_heads
from haymaker.heads.detectors import Detector
from haymaker.heads.null_query import null_example
from haymaker.heads.observations import Subject, Wants
from haymaker.heads.passes import read_gold, read_own, text_tokens
from haymaker.models.generation import AnswerEnd
from haymaker.models.load import LanguageModel
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.records import Example, Head, Label, Message, Segment
from haymaker.tokens import encode

GOLD = [name for name in DETECTORS if not DETECTORS[name].own_only]


def example(number: int, answer: str = "Kalo") -> Example:
    """A question over two documents, of a length that varies with `number`."""
    gold = (Segment("Dito lives in "), Segment(answer, (Label("answer"),)), Segment(".\n"))
    segments = (
        Segment("[1] " + "The river waited. " * number + "\n"),
        *(piece.within(Label("evidence", 2)) for piece in gold),
        Segment("Question: "),
        Segment("Where does Dito live?", (Label("question"),)),
        Segment("\nAnswer:"),
    )
    return Example(f"row-{number}", "mdqa", (Message("user", segments),), "Where does Dito live?", (answer,))


def citing(number: int) -> Example:
    """Three documents, of which the first and the third carry an insight; the answer cites them."""
    segments = (
        *(Segment("[1] "), Segment("Wages rose in Kalo.", (Label("evidence", 1),)), Segment("\n")),
        Segment("[2] " + "The river waited. " * number + "\n[3] "),
        *(Segment("Kalo paid more.", (Label("evidence", 3),)), Segment("\nQuestion: ")),
        *(Segment("Did wages rise?", (Label("question"),)), Segment("\nAnswer:")),
    )
    return Example(f"cite-{number}", "summhay", (Message("user", segments),), "Did wages rise?", ("[1][3]",))


@contextmanager
def eager(lm: LanguageModel) -> Iterator[None]:
    lm.model.set_attn_implementation("eager")
    yield
    lm.model.set_attn_implementation("sdpa")


def attention_of(lm: LanguageModel, ids: tuple[int, ...]) -> Tensor:
    """Eager attention [layer, head, row, key] of a whole sequence."""
    with eager(lm), torch.no_grad():
        return torch.cat(lm.model(input_ids=torch.tensor([ids]), output_attentions=True).attentions)


def oracle(lm: LanguageModel, one: Example) -> np.ndarray:
    """The paper's rule, written out: eager attention of the whole row, argmax, compare tokens, divide."""
    encoded = encode(one, lm.tokenizer)
    attentions = attention_of(lm, encoded.input_ids)
    ids, needle = encoded.input_ids, encoded.spans["answer"][0]
    wanted = {ids[j] for j in range(needle.start, needle.stop)}
    scores = np.zeros(attentions.shape[:2])
    for layer, head in np.ndindex(scores.shape):
        copied = set()
        for row in encoded.answer_rows:
            attended = int(attentions[layer, head, row].argmax())
            if needle.start <= attended < needle.stop and ids[attended] == ids[row + 1]:
                copied.add(ids[row + 1])
        scores[layer, head] = len(copied) / len(wanted)
    return scores


def test_copy_equals_the_oracle_in_batches_of_unequal_rows(lm: LanguageModel) -> None:
    rows = [example(number, answer) for number in range(5) for answer in ("Kalo", "Port Modini")]
    rows = [replace(row, id=f"{i}") for i, row in enumerate(rows)]
    found = detect_heads(lm, rows, batch=5)
    expected = np.stack([oracle(lm, row) for row in rows])
    assert np.array_equal(found.values, expected)
    assert found.values.max() > 0  # else nothing was compared
    assert found.example_ids == tuple(row.id for row in rows)


def test_mass_equals_eager_attention(lm: LanguageModel) -> None:
    one = example(3)
    encoded, answer = encode(one, lm.tokenizer), len(encode(one, lm.tokenizer).answer_ids) - 1
    rows = attention_of(lm, encoded.input_ids)[:, :, encoded.prompt_length - 1 :][:, :, :answer]
    expected = rows[..., encoded.spans["answer"][0].slice].sum(-1).mean(-1)
    assert np.allclose(detect_heads(lm, [one], metric="mass").values[0], expected, atol=1e-6)


def test_insight_equals_eager_attention(lm: LanguageModel) -> None:
    one = citing(2)
    encoded = encode(one, lm.tokenizer)
    pieces = [lm.tokenizer.decode([token]) for token in encoded.answer_ids]
    steps = {number: i for i, piece in enumerate(pieces) for number in (1, 3) if piece.strip() == str(number)}
    assert len(steps) == 2, "the numbers are tokens of their own"
    top = attention_of(lm, encoded.input_ids).argmax(-1)
    expected = torch.zeros(top.shape[:2])
    for number, step in steps.items():
        (span,) = [span for label, span in encoded.labelled_spans if label == ("evidence", number)]
        attended = top[:, :, encoded.prompt_length - 1 + step]
        expected += ((attended >= span.start) & (attended < span.stop)) / 2
    found = detect_heads(lm, [one, citing(0)], metric="insight")
    assert np.array_equal(found.values[0], expected)
    assert expected.max() > 0


def test_calibrated_mass_equals_eager_attention_with_and_without_the_question(lm: LanguageModel) -> None:
    rows, expected = [citing(number) for number in (1, 4)], []
    for one in rows:
        means = []
        for asked in (one, null_example(one)):
            encoded = encode(asked, lm.tokenizer)
            attention = attention_of(lm, encoded.prompt_ids)[:, :, encoded.spans["question"][0].start :]
            means.append(sum(attention[..., span.slice].sum(-1).mean(-1) for span in encoded.spans["evidence"]))
        expected.append(means[0] - means[1])
    for answer in ("gold", "own"):
        found = detect_heads(lm, rows, metric="mass_calibrated", answer=answer, new_tokens=8)
        assert np.allclose(found.values, np.stack(expected), atol=1e-6)
    assert "N/A\nAnswer:" in null_example(rows[0]).text
    assert "wages rise" not in null_example(rows[0]).text


def test_write_equals_a_direct_computation(lm: LanguageModel) -> None:
    """phi = a_j (W_O v_j) . (gain * W_U[y]) / rms(x), key by key, needle less the rest scaled to its length."""
    one = example(2)
    encoded = encode(one, lm.tokenizer)
    ids, (needle,), base = encoded.input_ids, encoded.spans["answer"], lm.base
    kept: dict[Any, Tensor] = {}
    hooks = [
        layer.self_attn.v_proj.register_forward_hook(lambda _, __, out, i=i: kept.update({i: out[0]}))
        for i, layer in enumerate(base.model.layers)
    ]
    hooks.append(base.model.norm.register_forward_pre_hook(lambda _, args: kept.update(final=args[0][0])))
    attention = attention_of(lm, ids)
    for hook in hooks:
        hook.remove()
    dim, group = base.config.head_dim, 2
    rows = range(encoded.prompt_length - 1, len(ids) - 2)
    expected = torch.zeros(attention.shape[:2])
    for layer, head in np.ndindex(*expected.shape):
        output = base.model.layers[layer].self_attn.o_proj.weight[:, head * dim : (head + 1) * dim]
        values = kept[layer].unflatten(-1, (-1, dim))[:, head // group]
        for row in rows:
            final = kept["final"][row]
            scale = base.model.norm.weight / (final.pow(2).mean() + base.config.rms_norm_eps).sqrt()
            phi = attention[layer, head, row, : row + 1] * (
                values[: row + 1] @ output.T @ (scale * base.lm_head.weight[ids[row + 1]])
            )
            inside = phi[needle.slice].sum()
            expected[layer, head] += inside - len(needle) / (row + 1 - len(needle)) * (phi.sum() - inside)
    found = detect_heads(lm, [one, example(0)], metric="write")
    assert np.allclose(found.values[0], expected / len(rows), atol=1e-5)


def test_uniform_attention_has_the_base_rate(lm: LanguageModel) -> None:
    for layer in lm.base.model.layers:
        layer.self_attn.q_proj.weight.zero_()
    one = example(3)
    encoded = encode(one, lm.tokenizer)
    size, rows = len(encoded.spans["answer"][0]), len(encoded.answer_ids) - 1
    found = detect_all(lm, [one], ("mass", "copy"))
    # Row r sees prompt_length + r keys alike, so the needle gets its share of them; the top, a tie, is the first key.
    rate = sum(size / (encoded.prompt_length + r) for r in range(rows)) / rows
    assert np.allclose(found["mass"].values, rate, atol=1e-6)
    assert not found["copy"].values.any()
    first = replace(one, messages=(Message("user", (Segment("Kalo", (Label("answer"),)), Segment(" and\nAnswer:"))),))
    ids = encode(first, lm.tokenizer)
    wanted = {*ids.input_ids[ids.spans["answer"][0].slice]}
    hit = ids.input_ids[0] in ids.answer_ids[:-1] and ids.spans["answer"][0].start == 0
    assert np.allclose(detect_heads(lm, [first]).values, hit / len(wanted))


def test_a_planted_copying_head_is_found(lm: LanguageModel) -> None:
    """Head 0-2 is made to look, from each token, for the one that follows it in prompt end and answer."""
    one = Example("planted", "mdqa", (Message("user", (Segment("In "), Segment("Modini", (Label("answer"),)),
                  Segment(".\nWho?\nAnswer:"))),), "", ("Modini",))  # fmt: skip
    encoded, base = encode(one, lm.tokenizer), lm.base
    said = encoded.input_ids[encoded.prompt_length - 1 : -1]  # the last token of the prompt, and the answer
    kinds = sorted(set(encoded.input_ids))
    assert len(set(said)) == len(said) > 2
    assert len(kinds) <= base.config.hidden_size, "else their embeddings cannot be told apart"
    base.model.rotary_emb.inv_freq.zero_()  # no rotation: keys of a token are the same everywhere
    attention, dim = base.model.layers[0].self_attn, base.config.head_dim
    inputs = base.model.layers[0].input_layernorm(base.model.embed_tokens(torch.tensor(kinds)))
    codes = torch.nn.functional.normalize(torch.randn(len(kinds), dim, generator=torch.Generator().manual_seed(0)))
    wanted = torch.zeros_like(codes)
    for token, following in zip(said, said[1:], strict=False):
        wanted[kinds.index(token)] = 10 * codes[kinds.index(following)]
    attention.k_proj.weight[dim : 2 * dim] = (torch.linalg.pinv(inputs) @ codes).T  # KV head 1 serves heads 2 and 3
    attention.q_proj.weight[2 * dim : 3 * dim] = (torch.linalg.pinv(inputs) @ wanted).T
    found = detect_all(lm, [one], ("copy", "copy_source", "copy_anywhere", "copy_previous", "mass"))
    for name in ("copy", "copy_source", "copy_anywhere"):
        assert found[name].top(1) == [Head(0, 2)]
        assert found[name].mean[0, 2] == 1
    assert found["mass"].top(1) == [Head(0, 2)]
    assert found["copy_previous"].mean[0, 2] == 0


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows() -> list[Example]:
    return [replace(example(n, a), id=f"{n} {a}") for n, a in ((0, "Kalo"), (4, "Port Modini"), (2, "Su"), (5, "Kalo"))]


@pytest.mark.parametrize("answer", ["gold", "own"])
def test_a_batch_scores_as_each_row_alone(lm: LanguageModel, rows: list[Example], answer: Any) -> None:
    metrics = [name for name in GOLD if name != "insight"]
    together = detect_all(lm, rows, metrics, batch=4, answer=answer, new_tokens=6)
    for i, row in enumerate(rows):
        alone = detect_all(lm, [row], metrics, answer=answer, new_tokens=6)
        for name in metrics:
            assert np.allclose(together[name].values[i], alone[name].values[0], atol=1e-5, equal_nan=True), name
    assert together["mass"].values.min() > 0


def test_several_metrics_read_one_pass(lm: LanguageModel, rows: list[Example]) -> None:
    passes: list[int] = []
    hook = lm.base.model.register_forward_pre_hook(lambda *_: passes.append(1))
    detect_heads(lm, rows[:1], metric="write")  # the forwards of the canary and of the proof of its direct path
    passes.clear()
    detect_heads(lm, rows, batch=4)
    of_one_metric = len(passes)
    passes.clear()
    found = detect_all(lm, rows, ("copy", "mass", "write", "copy_source"), batch=4)
    assert len(passes) == of_one_metric <= len(rows)
    hook.remove()
    for name, scores in found.items():
        alone = detect_heads(lm, rows, metric=name, batch=4).values
        np.testing.assert_allclose(scores.values, alone, rtol=0, atol=1e-6)  # other rows may be read beside these
        assert scores.metric == name


def test_decoding_reads_what_a_forward_over_the_same_answer_reads(lm: LanguageModel, rows: list[Example]) -> None:
    wants = Wants.of([DETECTORS["mass"], DETECTORS["write"]], None, new_tokens=6)
    subjects = [Subject.of(row, encode(row, lm.tokenizer), wants) for row in rows]
    own = read_own(lm, subjects, wants)
    forced = [replace(subject, encoded=reading.encoded) for subject, reading in zip(subjects, own, strict=True)]
    for decoded, gold in zip(own, read_gold(lm, forced, wants), strict=True):
        count = min(decoded.counts["answer"], gold.counts["answer"])
        (kinds,) = wants.kinds
        assert torch.equal(decoded.top_position[..., :count], gold.top_position[..., :count])
        assert torch.allclose(decoded.masses[kinds][..., :count], gold.masses[kinds][..., :count], atol=1e-6)
        for one, other in zip(decoded.written[kinds], gold.written[kinds], strict=True):
            assert torch.allclose(one[..., :count], other[..., :count], atol=1e-5)


def test_an_own_answer_is_its_text_without_what_ended_it(lm: LanguageModel) -> None:
    (answer,) = lm.tokenizer([" Port Modini"], add_special_tokens=False)["input_ids"]
    (newline,) = lm.tokenizer(["\n"], add_special_tokens=False)["input_ids"]
    end = AnswerEnd(lm, room=20)
    assert text_tokens(end, answer) == len(answer)  # cut off: every token is text
    assert text_tokens(end, [*answer, lm.tokenizer.eos_token_id]) == len(answer)
    assert text_tokens(end, [*answer, *newline]) == len(answer)
    assert text_tokens(end, [lm.tokenizer.eos_token_id]) == 0
    for stop in (".\n", "\n\n", ". The river", "\nwaited"):  # texts of several tokens
        (closing,) = lm.tokenizer([stop], add_special_tokens=False)["input_ids"]
        assert len(closing) > 1
        assert text_tokens(AnswerEnd(lm, 20, stop), [*answer, *closing]) == len(answer)


def test_a_merged_adapter_scores_as_an_unmerged_one(
    new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase, rows: list[Example]
) -> None:
    wrapped = add_lora(new_model(), rank=2, alpha=4.0, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in lora_parameters(wrapped).items():
            if ".lora_B." in name:
                weight.normal_(0, 0.3, generator=generator)
    metrics = [name for name in GOLD if name != "insight"]
    rows = rows[:2]
    apart = detect_all(LanguageModel(wrapped, tokenizer, "tiny"), rows, metrics)
    plain = detect_all(LanguageModel(new_model(), tokenizer, "tiny"), rows, metrics)
    merged = detect_all(LanguageModel(wrapped.merge_and_unload(), tokenizer, "tiny"), rows, metrics)
    for name in metrics:
        assert np.allclose(apart[name].values, merged[name].values, atol=1e-5), name
    assert not np.allclose(apart["write"].values, plain["write"].values, atol=1e-2)
    adapters = [found["copy"].provenance["adapter"] for found in (apart, plain, merged)]
    assert adapters[0] is not None
    assert adapters[1:] == [None, None]


def test_a_needle_outside_the_window_is_not_visible(
    new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase
) -> None:
    lm = LanguageModel(new_model("mistral").requires_grad_(False), tokenizer, "tiny")
    near = Example(
        "near", "mdqa", (Message("user", (Segment("Kalo", (Label("answer"),)), Segment(":"))),), "", ("Kalo",)
    )
    filler = Segment(" The river waited." * 5 + "\nAnswer:")  # more tokens than the window
    far = Example("far", "mdqa", (Message("user", (Segment("Kalo", (Label("answer"),)), filler)),), "", ("Kalo",))
    for answer in ("gold", "own"):
        found = detect_all(lm, [near, far], ("copy", "mass", "write"), answer=answer, new_tokens=3)
        for scores in found.values():
            assert scores.counted.tolist() == [True, False]
            assert np.isnan(scores.values[1]).all()
            assert np.array_equal(scores.mean, scores.values[0])
            assert (scores.counts == 1).all()
    alone = detect_heads(lm, [far], metric="mass")
    assert not alone.active()
    with pytest.raises(DataError, match="none of the 1 examples gives a head a score by mass"):
        alone.top(1)


def test_calibration_where_the_cache_cannot_go_back(
    new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase
) -> None:
    """A window that has moved on: the null prompt is run whole, with the same result as eager attention."""
    lm = LanguageModel(new_model("mistral").requires_grad_(False), tokenizer, "tiny")
    segments = (*(Segment("[1] The river waited. ") for _ in range(3)), Segment("Kalo", (Label("evidence"),)))
    asked = (Segment("\n"), Segment("Who?", (Label("question"),)), Segment("\nAnswer:"))
    one = Example("long", "mdqa", (Message("user", segments + asked),), "Who?", ("Kalo",))
    means = []
    for prompt in (one, null_example(one)):
        encoded = encode(prompt, tokenizer)
        attention = attention_of(lm, encoded.prompt_ids)[:, :, encoded.spans["question"][0].start :]
        means.append(attention[..., encoded.spans["evidence"][0].slice].sum(-1).mean(-1))
    assert len(encode(one, tokenizer).prompt_ids) > 16
    found = detect_heads(lm, [one], metric="mass_calibrated")
    assert np.allclose(found.values[0], means[0] - means[1], atol=1e-6)


# --- provenance and bad use -----------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_file(
    new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase, rows: list[Example], tmp_path: Path
) -> None:
    hashes = []
    for name, seed, examples in (("a", 0, rows), ("b", 0, rows), ("c", 1, rows), ("d", 0, rows[:3])):
        lm = LanguageModel(new_model(seed=seed).requires_grad_(False), tokenizer, "tiny")
        detect_heads(lm, examples).save(tmp_path / f"{name}.safetensors")
        hashes.append(json.loads((tmp_path / f"{name}.json").read_text())["provenance_hash"])
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert len(set(hashes)) == 3


def test_bad_use_is_named(lm: LanguageModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match="no detector 'copied'; there are copy"):
        detect_heads(lm, [example(1)], metric="copied")
    with pytest.raises(ConfigError, match="copy_wu2024 is defined on the model's own answers"):
        detect_heads(lm, [example(1)], metric="copy_wu2024", answer="gold")
    with pytest.raises(ConfigError, match="answer: expected gold or own, found 'silver'"):
        detect_all(lm, [example(1)], ["copy"], answer="silver")
    with pytest.raises(DataError, match="at least one example"):
        detect_heads(lm, [])
    plain = Example("plain", "mdqa", (Message("user", (Segment("Who?\nAnswer:"),)),), "Who?", ("Kalo",))
    with pytest.raises(DataError, match="plain: expected a span of answer or evidence"):
        detect_heads(lm, [plain])
    with pytest.raises(LengthError, match=r"1 of 1 rows are longer than .*: row-400 \(\d+\)"):
        detect_heads(lm, [example(400)])
    with pytest.raises(LengthError, match="leave no room to answer"):
        detect_heads(lm, [example(400)], answer="own")


def test_calibration_needs_a_question_behind_the_needle(lm: LanguageModel) -> None:
    needle, asked = Segment("Kalo", (Label("answer"),)), Segment("Who?", (Label("question"),))
    early = Example("early", "mdqa", (Message("user", (asked, Segment(" "), needle)),), "Who?", ("Kalo",))
    with pytest.raises(DataError, match="early: expected the needle before the question"):
        detect_heads(lm, [early], metric="mass_calibrated")
    without = Example("without", "mdqa", (Message("user", (needle, Segment("\nAnswer:"))),), "Who?", ("Kalo",))
    with pytest.raises(DataError, match="without: expected a span of the question"):
        detect_heads(lm, [without], metric="mass_calibrated")


def test_write_refuses_a_norm_over_heads(tokenizer: PreTrainedTokenizerBase) -> None:
    lm = LanguageModel(tiny_model("bitnet"), tokenizer, "bitnet")
    with pytest.raises(ProbeError, match="mixed before it"):
        detect_heads(lm, [example(1)], metric="write")


def test_copying_from_anywhere_needs_no_spans(lm: LanguageModel) -> None:
    """It looks for no needle: spans change nothing, nor do metrics of the same pass that do look for one."""
    spanned = [example(number) for number in (1, 2, 3)]
    bare = [replace(row, messages=(Message("user", (Segment(row.text),)),)) for row in spanned]
    assert not any("evidence" in row.spans for row in bare)
    found = detect_heads(lm, bare, "copy_anywhere")
    assert np.array_equal(found.values, detect_heads(lm, spanned, "copy_anywhere").values)
    assert np.array_equal(
        found.values, detect_all(lm, spanned, ("mass", "copy_anywhere", "write"))["copy_anywhere"].values
    )
    assert detect_heads(lm, bare, "copy_anywhere", answer="own", new_tokens=4).values.shape == found.values.shape
    with pytest.raises(DataError, match="expected a span of answer or evidence to look for"):
        detect_heads(lm, bare, "copy")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (lambda sight: sight.mass[..., 0].mean(-1), r"found \[3\]"),
        (lambda sight: sight.mass, r"found \[3, 4, \d\]"),
        (lambda sight: sight.mass[..., 0].tolist(), "found list"),
        (lambda sight: None, "found NoneType"),
    ],
)
def test_a_detector_gives_a_score_to_every_head(
    lm: LanguageModel, given: Callable[..., Any], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DETECTORS._loaded, DETECTORS.entry("mass"), Detector(given))
    with pytest.raises(PluginError, match=rf"expected a tensor \[layer, head\] of \[3, 4\], {found}"):
        detect_heads(lm, [example(1)], metric="mass")


def test_scores_of_whole_numbers_are_kept_as_fractions(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DETECTORS._loaded, DETECTORS.entry("mass"), Detector(lambda sight: sight.mass[..., 0] > 0.1))
    assert set(np.unique(detect_heads(lm, [example(1)], metric="mass").values)) <= {0.0, 1.0}


@pytest.mark.parametrize("metric", GOLD)
def test_attention_that_is_no_number_is_not_called_unseen(lm: LanguageModel, metric: str) -> None:
    """As a token leaves it whose hidden states overflow; the check of the architecture does not see that token."""
    rows = [example(0), example(3)] if metric != "insight" else [citing(0), citing(2)]
    lost = encode(rows[1], lm.tokenizer).input_ids[2]
    detect_heads(lm, rows, metric)
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[lost] = torch.inf
    with pytest.raises(ModelError, match=r"(row|cite)-\d: the attention of layer 0 is not finite, and of its weights"):
        detect_heads(lm, rows, metric)


def test_a_null_question_needs_a_cache_that_the_model_takes(tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny("minimax")  # which has a cache of its own
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    lm = LanguageModel(model, tokenizer, "tiny")
    detect_heads(lm, [example(1)], metric="mass")
    with pytest.raises(ModelError, match="MiniMaxForCausalLM: fails where it decodes"):
        detect_heads(lm, [example(1)], metric="mass_calibrated")
