"""When edits apply, to which batch rows, how they compose, and that a block leaves nothing behind."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tiny_models import logits, tiny_model, tokens
from transformers import DynamicCache

from haymaker.attention.edits import Edit, Knockout, Mean, Patch, Uniform, Zero, edit
from haymaker.attention.hook import current_step
from haymaker.attention.probing import probe
from haymaker.attention.recording import record
from haymaker.attention.targets import as_head, as_heads
from haymaker.errors import ProbeError
from haymaker.records import Head

HEADS = [Head(1, 2), Head(2, 0)]  # in layers that have attention in every model


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


# --- scopes and batch rows ------------------------------------------------------------------------------------------


def written(
    scope: Any, prompt_length: Any = None, chunks: tuple[int, ...] = (10, 1, 1), **inputs: Any
) -> list[list[int]]:
    """Positions that a Zero of head 0-0 writes in a batch of two, over a cached run in chunks."""
    model, ids = tiny_model("llama"), tokens(2, sum(chunks))
    cache, found = DynamicCache(config=model.config), []
    with edit(model, Zero(["0-0"]), scope=scope, prompt_length=prompt_length), record(model, ["0-0"]) as recording:
        for chunk in ids.split(chunks, dim=1):
            logits(model, chunk, past_key_values=cache, **inputs)
    for row in recording.of("0-0"):
        found.append((~row.any(-1)).nonzero()[:, 0].tolist())
    return found


@pytest.mark.parametrize(
    ("scope", "options", "expected"),
    [
        ("all", {}, range(12)),
        ("prompt+decode", {}, range(12)),
        ("prompt", {"chunks": (10,)}, range(10)),
        ("last", {"chunks": (10,)}, [9]),
        ("prompt", {"prompt_length": 10}, range(10)),
        ("last", {"prompt_length": 10}, [9]),
        ("decode", {"prompt_length": 10}, [10, 11]),
        ("last+decode", {"prompt_length": 10}, [9, 10, 11]),
        ([0, 7, 11], {}, [0, 7, 11]),
        ("prompt", {"prompt_length": 11}, range(11)),
        ("decode", {"prompt_length": 11}, [11]),
        ("last", {"prompt_length": 11}, [10]),
        ("last", {"prompt_length": 8, "chunks": (4, 5, 1)}, [7]),
        ("decode", {"prompt_length": 8, "chunks": (4, 5, 1)}, [8, 9]),
    ],
)
def test_scopes(scope: Any, options: dict[str, Any], expected: Any) -> None:
    assert written(scope, **options) == [list(expected)] * 2


def test_scopes_by_batch_row() -> None:
    assert written([[0, 1], [3, 11]]) == [[0, 1], [3, 11]]
    assert written("prompt", prompt_length=[3, 11]) == [[0, 1, 2], list(range(11))]
    assert written("last", prompt_length=[3, 11]) == [[2], [10]]
    padding = torch.ones(2, 10, dtype=torch.long)
    padding[0, 7:] = 0  # the first prompt ends three earlier
    assert written("last", chunks=(10,), attention_mask=padding) == [[6], [9]]


def test_scopes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ProbeError, match=r"\[12\] were never reached"):
        written([3, 12])
    for scope in ("last", "prompt", "decode", "last+decode"):  # a last chunk of one token, new tokens, candidates
        for chunks in [(9, 1), (5, 5, 1), (9, 1, 1), (6, 3)]:
            with pytest.raises(ProbeError, match="may be the prompt's or new ones: give prompt_length"):
                written(scope, chunks=chunks)
    for scope, message in [("first", r"found \['first'\]"), ([-1], "counted from 0")]:
        with pytest.raises(ProbeError, match=message):
            written(scope)


def generated(scope: Any, batch_rows: Any = None, rows: int = 2, **options: Any) -> tuple[list[list[int]], Any]:
    """What a generation from ten tokens writes over head 0-0: positions by row of its first forward, and its text."""
    model, ids = tiny_model("llama"), tokens(rows, 10)
    seen: dict[int, set[int]] = {}

    def note(module: Any, args: tuple) -> None:
        step = current_step(model.model)
        assert step is not None
        for row, some in enumerate(args[0].reshape(step.batch, step.count, -1, 8)[:, :, 0]):
            seen.setdefault(row, set()).update(step.first + at for at, one in enumerate(some) if not one.any())

    with edit(model, Zero(["0-0"]), scope=scope, batch_rows=batch_rows):
        model.model.layers[0].self_attn.o_proj.register_forward_pre_hook(note)
        text = model.generate(ids, max_new_tokens=5, **{"do_sample": False, **options})
    assert "generate" not in vars(model)
    return [sorted(seen[row]) for row in sorted(seen)], text


SCOPED = {"prompt": range(10), "last": [9], "decode": range(10, 14), "last+decode": range(9, 14)}


@pytest.mark.parametrize("scope", SCOPED)
@pytest.mark.parametrize(
    "options",
    [{}, {"use_cache": False}, {"prefill_chunk_size": 9}, {"prompt_lookup_num_tokens": 3, "rows": 1}],
    ids=str,
)
def test_generate_says_where_its_prompt_ends(scope: str, options: dict[str, Any]) -> None:
    """Without a cache, in chunks whose last is one token, and with candidates that are taken back."""
    found, text = generated(scope, **options)
    expected = list(SCOPED[scope])
    for row in found:
        assert [at for at in row if at < 14] == expected
    model, ids = tiny_model("llama"), tokens(len(text), 10)
    with edit(model, Zero(["0-0"]), scope=scope):
        assert torch.equal(text, model.generate(ids, max_new_tokens=5, do_sample=False))


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"do_sample": True, "num_return_sequences": 3}], ids=str)
def test_rows_of_a_generation_are_its_prompts(options: dict[str, Any]) -> None:
    found, _ = generated("prompt", [1], **options)
    assert found == [[]] * 3 + [list(range(10))] * 3
    model, ids = tiny_model("llama"), tokens(2, 10)
    with edit(model, Zero(["0-0"]), scope=[[1], [4]]), record(model, ["0-0"], rows=range(10)) as recording:
        model.generate(ids, max_new_tokens=1, **options)
    where = [(~row.any(-1)).nonzero()[:, 0].tolist() for row in recording.of("0-0")]
    assert where == [[1]] * 3 + [[4]] * 3
    with pytest.raises(ProbeError, match="a donor row cannot follow beams"), edit(model, Patch(["0-0"], donor=0)):
        model.generate(ids, max_new_tokens=1, **options)


@pytest.mark.parametrize("scope", SCOPED)
def test_what_is_new_and_embeddings_end_where_the_whole_prompt_does(scope: str) -> None:
    """`generate` takes the new tokens alone beside a filled cache, and ids that only begin what it returns."""
    model, ids = tiny_model("llama"), tokens(2, 10)
    embeddings = model.get_input_embeddings()(ids)

    def decoded(given: torch.Tensor | None = None, *, filled: int = 0, **options: Any) -> torch.Tensor:
        cache = DynamicCache(config=model.config)
        if filled:
            logits(model, ids[:, :filled], past_key_values=cache)
        options |= {"max_new_tokens": 5, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
        with edit(model, Zero(["0-0", "1-1"]), scope=scope):
            return torch.stack(model.generate(given, past_key_values=cache, **options).logits)

    mask = torch.ones_like(ids)
    whole, filled = decoded(ids), decoded(ids, filled=6)
    assert torch.allclose(decoded(ids[:, 6:], filled=6, attention_mask=mask), filled, atol=1e-5)
    assert torch.allclose(decoded(ids[:, :1], inputs_embeds=embeddings, attention_mask=mask), whole, atol=1e-5)


@pytest.mark.parametrize(("options", "steady"), [({"num_beams": 3}, 10), ({"guidance_scale": 2.0}, 0)], ids=str)
def test_rows_that_change_places_are_not_read(options: dict[str, Any], steady: int) -> None:
    model, ids = tiny_model("llama"), tokens(2, 10)
    for reading in (probe(model, rows=[11]), record(model, ["0-0"], rows=[11]), record(model, ["0-0"])):
        with pytest.raises(ProbeError, match="expected each row of the batch to stay one sequence"), reading:
            model.generate(ids, max_new_tokens=4, **options)
    if steady:
        with probe(model, rows=[9]):
            model.generate(ids, max_new_tokens=4, **options)
    else:
        with pytest.raises(ProbeError, match="found guidance"), edit(model, Zero(["0-0"]), scope="last"):
            model.generate(ids, max_new_tokens=4, **options)


def test_several_sequences_in_a_row_have_no_last_token() -> None:
    model, ids = tiny_model("llama"), tokens(1, 10)
    positions = torch.tensor([[*range(6), *range(4)]])
    with pytest.raises(ProbeError, match="each with a last token of its own"), edit(model, Zero(["0-0"]), scope="last"):
        logits(model, ids, position_ids=positions, use_cache=False)
    with edit(model, Zero(["0-0"]), scope=[[5, 9]]):
        logits(model, ids, position_ids=positions, use_cache=False)


def test_attention_that_is_chosen_inside_a_block_is_refused() -> None:
    model, ids = tiny_model("llama"), tokens(1, 10)
    for block in (edit(model, Zero(["0-0"])), probe(model, rows=[3])):
        with block:
            logits(model, ids)
            model.set_attn_implementation("eager")
            with pytest.raises(ProbeError, match="found 'eager', chosen since"):
                logits(model, ids)
        model.set_attn_implementation("sdpa")


def test_a_block_that_wrote_nothing_says_so() -> None:
    model, ids = tiny_model("llama"), tokens(1, 10)
    with pytest.raises(ProbeError, match="1 forwards, none in its scope"), edit(model, Zero(["0-0"]), scope="decode"):
        logits(model, ids)
    with pytest.raises(ProbeError, match="1 in other threads, where a block does not reach"):
        in_another_thread(model, ids)
    with edit(model, Zero(["0-0"])):
        pass
    with edit(model, Zero([])):
        logits(model, ids)
    with edit(model, Zero(["0-0"]), scope="last"):  # decoding without a cache, by hand
        logits(model, ids[:, :9], use_cache=False)
        with pytest.raises(ProbeError, match="of the same tokens; they"):
            logits(model, ids, use_cache=False)


def test_a_prompt_that_was_begun_by_hand_has_one_last_token() -> None:
    model, ids = tiny_model("llama"), tokens(1, 10)
    for scope, wrong in [("last", True), ("last+decode", True), ("prompt", False), ("all", False)]:
        cache = DynamicCache(config=model.config)
        with edit(model, Zero(["0-0"]), scope=scope):
            logits(model, ids[:, :6], past_key_values=cache)
            if wrong:
                with pytest.raises(ProbeError, match="found one of 6 tokens, .* goes on with them to 10"):
                    model.generate(ids, past_key_values=cache, max_new_tokens=2)
            else:
                model.generate(ids, past_key_values=cache, max_new_tokens=2)


def in_another_thread(model: Any, ids: torch.Tensor) -> None:
    with edit(model, Zero(["0-0"])):
        thread = threading.Thread(target=logits, args=(model, ids))
        thread.start()
        thread.join()


def test_head_sets_as_rows_of_one_batch_are_separate_runs() -> None:
    model, ids = tiny_model("llama"), tokens()
    sets = [[(0, 1)], [(1, 2), (2, 0)], [], [(2, 3)]]
    with edit(model, *(Zero(heads, batch_rows=[row]) for row, heads in enumerate(sets))):
        together = logits(model, ids.expand(4, -1))
    for row, heads in enumerate(sets):
        with edit(model, Zero(heads)):
            torch.testing.assert_close(together[row], logits(model, ids)[0], atol=1e-5, rtol=1e-5)


def test_one_prefill_serves_many_head_sets_after_a_crop() -> None:
    model, ids = tiny_model("llama"), tokens()
    cache = DynamicCache(config=model.config)
    logits(model, ids[:, :20], past_key_values=cache)
    for heads in ([(0, 1)], [(1, 2), (2, 0)]):
        with edit(model, Zero(heads)):
            reused = logits(model, ids[:, 20:], past_key_values=cache)
        cache.crop(-4)
        fresh_cache = DynamicCache(config=model.config)
        logits(model, ids[:, :20], past_key_values=fresh_cache)
        with edit(model, Zero(heads)):
            assert torch.equal(reused, logits(model, ids[:, 20:], past_key_values=fresh_cache))


# --- composition, undoing, refusing ---------------------------------------------------------------------------------


def test_edits_compose_in_any_order_and_nesting() -> None:
    model, ids = tiny_model("llama"), tokens(2)
    zero, row = Zero([(0, 0), (1, 1)]), Patch([(1, 0)], donor=1)
    found = []
    for edits in ((zero, row), (row, zero)):
        with edit(model, *edits):
            found.append(logits(model, ids))
    with edit(model, zero), edit(model, row):
        found.append(logits(model, ids))
    with edit(model, Zero([(0, 0)]), scope="prompt"), edit(model, Zero([(0, 0)]), scope="decode"), edit(model, row):
        pass
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ({}, {}),
        ({"scope": "prompt"}, {"scope": "last"}),
        ({"scope": [3, 4]}, {"scope": [4]}),
        ({"scope": [3]}, {"scope": "decode"}),
        ({"batch_rows": [0, 1]}, {"batch_rows": [1]}),
    ],
)
def test_conflicts_raise(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    model = tiny_model("llama")
    zero, uniform = Zero(["1-2"]), Uniform([(1, 2), (0, 0)])
    with (
        pytest.raises(ProbeError, match="1-2: Zero of 1-2 and Uniform"),
        edit(model, zero, **outer),
        edit(model, uniform, **inner),
    ):
        pass


def test_edits_apart_in_position_or_batch_row_do_not_conflict() -> None:
    model, zero = tiny_model("llama"), Zero(["1-2"])
    with (
        edit(model, zero, scope=[3], batch_rows=[0]),
        edit(model, zero, scope=[4]),
        edit(model, zero, scope=[3], batch_rows=[1]),
    ):
        assert len(logits(model, tokens(2))) == 2


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("llama", lambda: Zero([(3, 0)]), r"layers with attention, \[0, 1, 2\]; found 3-0"),
        ("llama", lambda: Zero([(1, 4)]), "heads 0 to 3 in layer 1, found 1-4"),
        ("qwen3_next", lambda: Zero([(0, 1)]), r"\[1, 2\]; found 0-1"),
        ("llama", lambda: Mean([(0, 1)], {(0, 1): torch.zeros(5)}), r"vector of 8, found \[5\]"),
        ("llama", lambda: Mean([(0, 1)], {}), "found none"),
        ("llama", lambda: Patch([(0, 1)], {(0, 1): torch.zeros(24, 5)}), "width 8 for 0-1, found"),
        ("llama", lambda: Patch([(0, 1)], {(0, 2): torch.zeros(24, 8)}), "one of 0-2; found 0-1"),
        ("llama", lambda: Patch([(0, 1)], {(0, 1): torch.zeros(3, 24, 8)}), "donor batch of 1 or 2, found 3"),
        ("llama", lambda: Patch([(0, 1)], {(0, 1): torch.zeros(9, 8)}), r"positions \[9, 10"),
        ("llama", lambda: Patch([(0, 1)], donor=2), "batch of 2, found 2"),
        ("llama", lambda: Zero([(0, 1)], batch_rows=[2]), "batch rows 0 to 1, found 2"),
        ("llama", lambda: Knockout([(0, 1)], (4, 3)), "expected a Span"),
        ("llama", lambda: Zero(["1.2"]), "'16-19'"),
        ("llama", lambda: Zero([(1,)]), "'16-19'"),
        ("llama", lambda: Zero(7), "expected heads like .* of scores .top"),
        ("llama", lambda: Zero([(-1, 2)]), "counted from 0"),
    ],
)
def test_bad_use_is_refused(name: str, make: Callable[[], Edit], message: str) -> None:
    model = tiny_model(name)
    with pytest.raises(ProbeError, match=message), edit(model, make()):
        logits(model, tokens(2))
    assert model.config._attn_implementation == "sdpa"
    assert not model.model._forward_pre_hooks


def test_recordings_know_their_site() -> None:
    model = tiny_model("qwen3_next")
    with record(model, HEADS, site="attention") as donor:
        logits(model, tokens())
    with pytest.raises(ProbeError, match="site='o_proj'"), edit(model, Patch(HEADS, donor)):
        pass
    with edit(model, Patch(HEADS, donor), site="attention"):
        logits(model, tokens())
    with pytest.raises(ProbeError, match="site='attention'"), edit(model, Uniform(HEADS), site="o_proj"):
        pass
    with record(model, HEADS) as twice:
        logits(model, tokens()), logits(model, tokens())
    with pytest.raises(ProbeError, match="recorded twice"):
        _ = twice.values
    with record(model, HEADS) as never:
        pass
    with pytest.raises(ProbeError, match="found none"):
        _ = never.values


def test_an_exception_undoes_everything() -> None:
    model, ids = tiny_model("llama"), tokens()
    plain = logits(model, ids)
    with pytest.raises(ZeroDivisionError), probe(model, [3]), edit(model, Zero(HEADS), site="o_proj"):
        print(logits(model, ids).sum() / (1 // 0))
    with pytest.raises(IndexError), edit(model, Zero(HEADS)):
        logits(model, torch.full((1, 3), 10**6))  # no such token: fails inside the forward
    assert torch.equal(logits(model, ids), plain)
    assert model.config._attn_implementation == "sdpa"
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_threads_do_not_mix() -> None:
    model, ids = tiny_model("llama"), tokens()
    sets: list[list] = [[], [(0, 1)], [(1, 2), (2, 0)], [(2, 3)]]
    expected = []
    for heads in sets:
        with edit(model, Zero(heads)):
            expected.append(logits(model, ids))
    together, wrong = threading.Barrier(len(sets)), []

    def run(index: int) -> None:
        with torch.no_grad():
            for _ in range(5):
                together.wait()
                with edit(model, Zero(sets[index])), probe(model, [index + 3]) as seen:
                    found = logits(model, ids)
                if not torch.equal(found, expected[index]) or seen.rows.item() != index + 3 or not seen.reached.all():
                    wrong.append(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(sets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert model.config._attn_implementation == "sdpa"
    assert not model.model._forward_pre_hooks


def test_heads_print_and_parse() -> None:
    assert str(Head(16, 19)) == "16-19" == f"{Head.parse('16-19')}"
    assert as_head("3-4") == as_head((3, 4)) == as_head(Head(3, 4)) == Head(3, 4)
    assert as_heads("3-4, 0-1,3-4") == as_heads(["3-4", (0, 1)]) == (Head(3, 4), Head(0, 1))
    assert as_heads(Head(3, 4)) == as_heads("3-4") == (Head(3, 4),)
    assert Zero(["3-4", (3, 4), Head(0, 1)]).heads == (Head(3, 4), Head(0, 1))
