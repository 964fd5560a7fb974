"""`copy_wu2024` against the published rule, written out a second time: eager decoding, one token, head and step at a
time, nothing shared with our reading of attention."""

from collections import Counter

import numpy as np
import pytest
import torch

from haymaker.heads.detection import detect_heads
from haymaker.miniature.world import World, question, statement
from haymaker.models.load import LanguageModel, load_model
from haymaker.records import Example, Message, Segment
from haymaker.tokens import encode


def published(lm: LanguageModel, example: Example) -> np.ndarray | None:
    """One trial of the published script [layer, head]; None where it leaves the trial out."""
    encoded = encode(example, lm.tokenizer)
    (needle,) = encoded.spans["evidence"]
    prompt = torch.tensor([encoded.prompt_ids])
    past = lm.model(input_ids=prompt[:, :-1], use_cache=True).past_key_values
    scores = np.zeros((lm.base.config.num_hidden_layers, lm.base.config.num_attention_heads))
    token, output = prompt[0, -1], []
    for _ in range(50):
        step = lm.model(input_ids=token.view(1, 1), past_key_values=past, use_cache=True, output_attentions=True)
        past, token = step.past_key_values, step.logits[0, -1].argmax()
        output.append(int(token))
        for layer, attention in enumerate(step.attentions):
            for head in range(attention.shape[1]):
                top = int(attention[0, head, -1].argmax())
                if needle.start <= top < needle.stop and encoded.input_ids[top] == int(token):
                    scores[layer, head] += 1 / len(needle)
        if lm.tokenizer.convert_ids_to_tokens(int(token)) == "<0x0A>" or int(token) == 144:
            break
    (characters,) = example.spans["evidence"]
    wanted, found = words(example.text[characters.slice]), words(lm.tokenizer.decode(output, skip_special_tokens=True))
    return scores if 100 * sum((wanted & found).values()) / sum(wanted.values()) > 50 else None


def words(text: str) -> Counter[str]:
    return Counter("".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split())


@pytest.fixture(scope="module")
def miniature() -> LanguageModel:
    """The packaged model: it answers some rows, so that trials pass the gate."""
    return load_model("miniature-llama", dtype="float32")


def row(number: int) -> Example:
    """A question about one of three facts of the miniature's world."""
    world = World("test", 5)
    rng = world.rng("wu", number)
    facts = world.facts(rng, 3)
    gold = number % 3
    segments = [
        segment
        for i, fact in enumerate(facts)
        for segment in (Segment(f"[{i + 1}] "), *statement(fact, rng, "template", gold=i == gold), Segment("\n"))
    ]
    asked = question(facts[gold], rng, "template")
    segments.append(Segment(f"Question: {asked}\nAnswer:"))
    return Example(f"row-{number}", "mdqa", (Message("user", tuple(segments)),), asked, (facts[gold].object,))


@pytest.fixture(scope="module")
def rows() -> list[Example]:
    return [row(number) for number in range(3)]


def test_every_trial_equals_the_published_rule(miniature: LanguageModel, rows: list[Example]) -> None:
    found = detect_heads(miniature, rows, metric="copy_wu2024", batch=2)
    miniature.model.set_attn_implementation("eager")
    with torch.no_grad():
        trials = [published(miniature, row) for row in rows]
    miniature.model.set_attn_implementation("sdpa")
    assert found.counted.tolist() == [trial is not None for trial in trials]
    kept = [trial for trial in trials if trial is not None]
    assert np.array_equal(found.values[found.counted], np.stack(kept).astype(np.float32))
    assert 0 < len(kept) < len(rows), "else the gate was not tried"
    assert np.max(kept) > 1  # 50 steps, past the answer's end, copy some tokens again and again
    assert found.above_one == sum(int((trial > 1).sum()) for trial in kept)
    assert np.array_equal(found.mean, found.values[found.counted].sum(axis=0, dtype=np.float64) / len(kept))


def test_a_set_in_place_of_counts_is_at_most_one(miniature: LanguageModel, rows: list[Example]) -> None:
    as_set = detect_heads(miniature, rows, metric="copy", needle=("evidence",), answer="own")
    assert as_set.counted.all()
    assert 0 < as_set.values.max() <= 1
