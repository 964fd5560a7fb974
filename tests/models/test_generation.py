"""Greedy decoding. Laws: batches change no answer, steps equal a fresh reading, every answer says its end."""

from collections.abc import Callable, Sequence
from typing import Any

import accelerate
import pytest
import torch
from any_architecture import tiny, tiny_config
from tiny_rows import CONTEXT, random_rows
from transformers import AutoModelForCausalLM, PreTrainedModel

from haymaker.attention.edits import Zero, edit
from haymaker.attention.probing import probe
from haymaker.config import Extend
from haymaker.errors import LengthError, ModelError
from haymaker.interventions.branches import Trunk
from haymaker.models.batching import batches_of
from haymaker.models.extend import extend_context
from haymaker.models.generation import AnswerEnd, Decoder, answers, generate, greedy, prove_decoding
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded


def reference(model: PreTrainedModel, prompt: Sequence[int], count: int) -> list[int]:
    """Greedy tokens by reading everything anew for each, without cache or batch."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_batches_of_mixed_lengths_give_each_row_its_own_answer(kind: str, new_model, tokenizer) -> None:
    lm = LanguageModel(new_model(kind), tokenizer, "tiny")
    rows = random_rows(9, longest=CONTEXT - 10, seed=2)
    found = generate(lm, rows, max_new_tokens=5, stop=None)
    groups = batches_of([row.prompt_length for row in rows])
    assert any(len({rows[i].prompt_length for i in group}) > 1 for group in groups)  # some are padded
    for row, answer in zip(rows, found, strict=True):
        expected = reference(lm.model, row.prompt_ids, len(answer.ids))
        assert list(answer.ids) == expected
        assert answer.example_id == row.example_id


@pytest.mark.parametrize("name", ["sliding_window", "attention_chunk_size"])
@pytest.mark.parametrize("kind", ["llama", "granite", "moshi"])
def test_a_window_that_no_layer_has_shortens_no_answer(kind: str, name: str, tokenizer, capsys) -> None:
    """transformers' cache forgets keys by whatever window a config names, also where the model's class reads none."""
    config = tiny_config(kind)
    name = "sliding_window" if kind == "moshi" else name  # it has an entry for windows
    setattr(config, name, 16)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.generation_config.eos_token_id = None
    rows = [Encoded(f"row-{n}", tuple(range(5, 5 + n)), n) for n in (30, 24)]
    expected = [tuple(reference(model, row.prompt_ids, 4)) for row in rows]
    lm = LanguageModel(model, tokenizer, "tiny")
    assert "a window of 16 tokens, which its layers do not have" in " ".join(capsys.readouterr().err.split())
    assert [one.ids for one in generate(lm, rows, 4, stop=None)] == expected


def test_windows_that_layers_have_are_kept(tokenizer, capsys) -> None:
    for kind in ("mistral", "gemma3_text", "llama4_text", "recurrent_gemma", "doge", "gpt_oss"):
        model = tiny(kind)
        before = model.config.to_dict()
        LanguageModel(model, tokenizer, kind)
        assert model.config.to_dict() == before
    assert not capsys.readouterr().err


def test_padding_hides_nothing_but_itself(new_model) -> None:
    model, prompts = new_model(), [list(range(10, 40)), list(range(50, 73))]
    decoder = Decoder(model, prompts)
    first, second = decoder.prefill(), decoder.step(torch.tensor([5, 6]))
    for i, (prompt, token) in enumerate(zip(prompts, (5, 6), strict=True)):
        alone = model(input_ids=torch.tensor([[*prompt, token]])).logits[0]
        torch.testing.assert_close(first[i], alone[-2], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(second[i], alone[-1], rtol=1e-4, atol=1e-5)


def test_edits_reach_every_row_of_a_padded_batch(lm: LanguageModel) -> None:
    rows = random_rows(6, longest=CONTEXT - 10, seed=2)
    plain = generate(lm, rows, max_new_tokens=4, stop=None)
    with edit(lm.model, Zero([(0, 1), (2, 3)])):
        together = generate(lm, rows, max_new_tokens=4, stop=None)
        alone = [generate(lm, [row], max_new_tokens=4, stop=None)[0] for row in rows]
    assert together == alone
    assert together != plain
    assert generate(lm, rows, max_new_tokens=4, stop=None) == plain


def test_two_decoders_go_in_lockstep(new_model) -> None:
    one, other = new_model(seed=0), new_model(seed=1)
    prompts = [list(range(10, 40)), list(range(50, 80))]
    leader, follower = Decoder(one, prompts), Decoder(other, prompts)
    tokens, read = leader.prefill().argmax(-1), follower.prefill()
    for _ in range(3):
        read = follower.step(tokens)
        tokens = leader.step(tokens).argmax(-1)
    assert not torch.equal(tokens, read.argmax(-1))
    assert leader.steps == follower.steps == 3


# ---- the greedy loop


def scripted(
    scripts: Sequence[Sequence[int]],
) -> tuple[torch.Tensor, Callable[..., torch.Tensor]]:
    """Logits that make every answer write its script; each step checks that it is told the newest tokens."""
    steps = [0] * len(scripts)

    def logits(going: Sequence[int]) -> torch.Tensor:
        table = torch.zeros(len(going), 10)
        table[torch.arange(len(going)), [scripts[i][steps[i]] for i in going]] = 1.0
        return table

    def go_on(going: list[int], tokens: torch.Tensor) -> torch.Tensor:
        assert tokens.tolist() == [scripts[i][steps[i]] for i in going]
        for i in going:
            steps[i] += 1
        return logits(going)

    return logits(range(len(scripts))), go_on


def test_the_loop_ends_each_answer_when_all_its_rules_hold() -> None:
    rules = [
        {"two": lambda ids: len(ids) == 2},
        {"nine": lambda ids: ids[-1] == 9, "three": lambda ids: len(ids) >= 3},
        {"nine": lambda ids: ids[-1] == 9, "one": lambda ids: True},
    ]
    first, go_on = scripted([[1, 2, 3], [9, 4, 5, 6], [1, 1, 1, 9, 7]])
    written, lengths = greedy(first, go_on, rules, torch.nn.Identity())
    assert written == [[1, 2], [9, 4, 5], [1, 1, 1, 9]]  # nobody is asked for tokens after its end
    assert lengths == [{"two": 2}, {"nine": 1, "three": 3}, {"nine": 4, "one": 1}]
    assert greedy(torch.zeros(0, 10), go_on, [], torch.nn.Identity()) == ([], [])


def test_a_decoder_of_which_some_go_on_gives_them_the_same(new_model) -> None:
    model, prompts = new_model(), [list(range(10, 40)), list(range(50, 73)), list(range(9, 33))]
    all_of_them, some = Decoder(model, prompts), Decoder(model, prompts)
    assert torch.equal(all_of_them.prefill(), some.prefill())
    for tokens in ([5, 6, 7], [8, 9, 10]):
        expected = all_of_them.step(torch.tensor(tokens))
        going = [0, 1, 2] if tokens[0] == 5 else [0, 2]
        found = some.go_on(going, torch.tensor(tokens)[going])
        # Two rows go through another matrix product than three, whose sums a processor may take in another order.
        torch.testing.assert_close(found, expected[going], atol=1e-5, rtol=1e-5)


def test_answers_are_the_same_from_a_batch_and_from_branches_of_a_prompt(lm: LanguageModel) -> None:
    row = random_rows(1, longest=CONTEXT - 10, seed=2)[0]
    ends = [AnswerEnd(lm, room, stop=None) for room in (1, 4, 6)]  # they part when the first is over
    trunk = Trunk(lm.model, row.prompt_ids)
    with trunk.growing([[], [], []], "last") as step:
        first = step(range(3), trunk.last_tokens(3))[:, -1]
        grown = answers(first, lambda going, tokens: step(going, tokens[:, None])[:, -1], ends, ["a", "b", "c"])
    decoder = Decoder(lm.model, [row.prompt_ids] * 3)
    assert grown == answers(decoder.prefill(), decoder.go_on, ends, ["a", "b", "c"])
    assert list(grown[2].ids) == reference(lm.model, row.prompt_ids, len(grown[2].ids))
    assert [len(answer.ids) for answer in grown] == [1, 4, 6]


# ---- the end of an answer


class Written:
    """A model whose answer is fixed: its logits choose the tokens of a script."""

    def __init__(self, lm: LanguageModel, script: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
        def forward(decoder: Decoder, ids: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
            logits = torch.zeros(len(ids), len(lm.tokenizer))
            logits[:, script[decoder.steps]] = 1.0
            return logits

        monkeypatch.setattr("haymaker.models.generation.prove_decoding", lambda *_, **__: None)
        monkeypatch.setattr(Decoder, "forward", forward)


@pytest.mark.parametrize(
    ("answer", "end", "text", "reason"),
    [
        (" Dora Ven", "<|end|>", "Dora Ven", "stop"),
        (" Dora\nQuestion", "", "Dora", "stop"),
        (" Dora Ven", "", "Dora Ven", "length"),
        ("\n Dora\nQuestion", "", "Dora", "stop"),  # a stop counts after text only
        ("\n", "", "", "length"),
        ("Sure!\n Dora\nQuestion", "", "Dora", "stop"),
        ("<think> Ven\n</think>\nDora\n", "", "Dora", "stop"),
    ],
)
def test_an_answer_ends_as_it_says(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, answer: str, end: str, text: str, reason: str
) -> None:
    script = lm.tokenizer(answer + end, add_special_tokens=False)["input_ids"]
    Written(lm, script, monkeypatch)
    found = generate(lm, random_rows(1), max_new_tokens=len(script))[0]
    assert (found.text, found.finish_reason) == (text, reason)
    assert list(found.ids) == script[: len(found.ids)]
    assert len(found.ids) <= len(script)


def test_nothing_after_the_stop_is_kept(lm: LanguageModel) -> None:
    ids: list[int] = lm.tokenizer(" Dora\nVen", add_special_tokens=False)["input_ids"]  # type: ignore[assignment]
    end, without = AnswerEnd(lm, 100), AnswerEnd(lm, 100, stop=None)
    assert (end.text(ids), without.text(ids)) == ("Dora", "Dora\nVen")
    assert (end(ids), without(ids)) == ("stop", None)
    assert AnswerEnd(lm, len(ids), stop=None)(ids) == "length"
    lm.base.generation_config.eos_token_id = [1, ids[-1]]
    assert AnswerEnd(lm, 100, stop=None)(ids) == "stop"


@pytest.mark.parametrize("told", ["", "2", 2.0, True, [1, "2"], {"a": 1}])
def test_ends_that_are_no_numbers_of_tokens_are_refused(told: Any, lm: LanguageModel) -> None:
    lm.base.generation_config.eos_token_id = told
    with pytest.raises(ModelError, match="eos_token_id"):
        AnswerEnd(lm, 100)([5])


def test_rows_that_end_early_do_not_stop_the_others(lm: LanguageModel) -> None:
    rows = [Encoded("short", tuple(range(10, 10 + CONTEXT - 2)), CONTEXT - 2), *random_rows(2, longest=62, answer=1)]
    found = generate(lm, rows, max_new_tokens=6, stop=None)
    assert [len(answer.ids) for answer in found][0] == 2  # the context has room for two more
    assert found[0].finish_reason == "length"
    assert len(found[1].ids) == min(6, CONTEXT - rows[1].prompt_length) or found[1].finish_reason == "stop"


# ---- limits


def test_prompts_beyond_the_context_are_named(lm: LanguageModel) -> None:
    rows = [*random_rows(2), Encoded("far", (5,) * (CONTEXT + 2), CONTEXT + 1)]
    with pytest.raises(LengthError, match=rf"1 of 3 prompts.*{CONTEXT} tokens: far \({CONTEXT + 1}\)"):
        generate(lm, rows)
    assert len(generate(lm, rows, max_new_tokens=2, beyond_context=True)) == 3


def test_an_extended_model_reads_further(lm: LanguageModel) -> None:
    row = Encoded("far", (5,) * (CONTEXT + 2), CONTEXT + 1)
    extend_context(lm.model, Extend(length=2 * CONTEXT))
    assert len(generate(lm, [row], max_new_tokens=2)) == 1


def test_logits_that_are_not_finite_are_an_error(lm: LanguageModel) -> None:
    lm.model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"not finite.* weights .*model\.norm\.weight are not finite"):
        generate(lm, random_rows(1))


def test_progress_counts_every_row(lm: LanguageModel) -> None:
    seen: list[int] = []
    record: Callable[[int], None] = seen.append
    generate(lm, random_rows(7), max_new_tokens=2, tokens_at_once=80, on_progress=record)
    assert sum(seen) == 7
    assert len(seen) > 1


# ---- the proof that a model decodes


@pytest.mark.parametrize("kind", ["qwen3_next", "deepseek_v3", "opt"])
@pytest.mark.parametrize("padded", [False, True])
def test_rounding_by_autocast_is_no_other_model(kind: str, padded: bool) -> None:
    for seed in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            prove_decoding(tiny(kind, seed), padded=padded)


def test_a_model_in_training_mode_is_proven_anew(lm: LanguageModel) -> None:
    prove_decoding(lm.model, padded=True)
    for layer in lm.base.model.layers:
        layer.self_attn.attention_dropout = 0.5
    lm.base.train()
    with pytest.raises(ModelError, match=r"training mode.*eval\(\)"):
        generate(lm, random_rows(2), max_new_tokens=2)
    lm.base.eval()
    assert len(generate(lm, random_rows(2), max_new_tokens=2)) == 2


def test_a_proof_is_no_forward_of_an_open_block(lm: LanguageModel) -> None:
    with probe(lm.model, [3]) as seen, edit(lm.model, Zero([(0, 1)]), scope="decode") as block:
        prove_decoding(lm.model, padded=True)
    assert (block.forwards, block.writes, bool(seen.reached.any())) == (0, 0, False)  # nor an error of other threads


def test_weights_that_lie_elsewhere_answer_alike(lm: LanguageModel, new_model) -> None:
    rows = random_rows(3, longest=CONTEXT - 10, seed=2)
    expected = generate(lm, rows, max_new_tokens=3, stop=None)
    accelerate.cpu_offload(offloaded := new_model(), execution_device=torch.device("cpu"))
    assert generate(LanguageModel(offloaded, lm.tokenizer, "tiny"), rows, max_new_tokens=3, stop=None) == expected
