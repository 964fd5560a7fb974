"""Laws of the probe: it changes nothing, and reads what eager attention computes, however its rows are reached."""

import torch
from equivalences import WINDOW, eager, furthest, law, logits, tiny_model, tokens, unequal
from torch import Tensor
from transformers import AttentionInterface, DynamicCache, StaticCache

from haymaker.attention.canary import check_architecture
from haymaker.attention.probing import probe
from haymaker.attention.seen import Seen
from haymaker.errors import ProbeError
from haymaker.records import Span

ROWS = [1, 9, 17, 22, 23]
SPANS = {"needle": Span(3, 7), "pair": [Span(0, 2), Span(15, 18)]}
CHUNKS = [(11, 13), (2, 3, 4, 5, 6, 3, 1)]


def padding(ids: Tensor, count: int = 7) -> Tensor:
    """The first tokens of row 0 are padding."""
    mask = torch.ones_like(ids)
    mask[0, :count] = 0
    return mask


def read(
    model: object, ids: Tensor, rows: list[int] = ROWS, chunks: tuple[int, ...] = (), cache: object = None
) -> Seen:
    """A reading of one forward, or of one in chunks over a cache."""
    with probe(model, rows, SPANS, values=True) as seen:
        for chunk in ids.split(chunks or (ids.shape[1],), dim=1):
            model(input_ids=chunk, past_key_values=cache)
    return seen


def numbers(seen: Seen) -> Tensor:
    """Probabilities of a reading: of the most attended keys, and on spans."""
    return torch.stack([seen.top_probability[..., 0], *seen.mass.values()])


def eager_rows(model: object, layers: list[int], ids: Tensor, rows: list[int]) -> Tensor:
    """Weights [layer, batch, head, row, key] of the layers that have attention."""
    with eager(model):
        found = model(input_ids=ids, output_attentions=True, use_cache=False).attentions
    return torch.stack([found[i] for i in layers] if len(found) > len(layers) else list(found))[:, :, :, rows]


@law("1", "logits with and without the probe: forward")
def logits_forward(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    plain = logits(model, ids)
    with probe(model, ROWS, SPANS, topk=2, values=True):
        return furthest(logits(model, ids), plain)


@law("1", "logits: left-padded batch (a mask that goes missing shows)")
def logits_padded(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    plain = logits(model, ids, attention_mask=padding(ids))
    with probe(model, ROWS):
        return furthest(logits(model, ids, attention_mask=padding(ids)), plain)


@law("1", "logits: eager backend")
def logits_eager(name: str) -> float:
    model, ids = tiny_model(name, "eager"), tokens(2)
    plain = logits(model, ids)
    with probe(model, ROWS):
        return furthest(logits(model, ids), plain)


@law("1", "logits: flex_attention, uncompiled, padded")
def logits_flex(name: str) -> float | None:
    if name not in ("llama", "mistral", "phi3"):
        return None  # run where it needs nothing of the model that a CPU lacks
    with torch.compiler.set_stance("force_eager"):  # compiling takes minutes on a CPU
        model, ids = tiny_model(name, "flex_attention"), tokens(2)
        plain = logits(model, ids, attention_mask=padding(ids))
        with probe(model, ROWS):
            return furthest(logits(model, ids, attention_mask=padding(ids)), plain)


@law("1", "generated tokens that differ, of 16")
def tokens_generated(name: str) -> float:
    model, ids = tiny_model(name), tokens(2, 12)
    plain = model.generate(ids, max_new_tokens=8, do_sample=False)
    with probe(model, [11, 12, 15], SPANS):
        return unequal(model.generate(ids, max_new_tokens=8, do_sample=False), plain)


@law("2", "probabilities of rows against eager `output_attentions`", 1e-5)
def rows_eager(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    seen = read(model, ids)
    weights = eager_rows(model, seen.layers, ids, ROWS)
    span = seen.mass["needle"][seen.layers].nan_to_num(0)  # NaN where nothing of it is seen
    return max(
        furthest(seen.top_probability[seen.layers][..., 0], weights.amax(-1)),
        furthest(span, weights[..., SPANS["needle"].slice].sum(-1)),
    )


@law("2", "most attended positions that differ from eager, fp32")
def positions_eager(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    seen = read(model, ids)
    return unequal(seen.top_position[seen.layers][..., 0], eager_rows(model, seen.layers, ids, ROWS).argmax(-1))


@law("2", "the same, fp64")
def positions_eager_double(name: str) -> float | None:
    if name in ("gpt_oss", "qwen3_next"):
        return None  # their experts have no fp64 kernel
    model, ids = tiny_model(name), tokens(2)
    check_architecture(model)  # in fp32: transformers' eager attention gives NaN for padding in fp64
    seen = read(model.double(), ids)
    return unequal(seen.top_position[seen.layers][..., 0], eager_rows(model, seen.layers, ids, ROWS).argmax(-1))


@law("2", "bf16: share of positions that differ and have under 0.98 of the highest probability", 0.01)
def positions_eager_half(name: str) -> float:
    model, ids = tiny_model(name, "eager").to(torch.bfloat16), tokens(4, 40)
    rows = list(range(3, 40, 3))
    seen = read(model, ids, rows)
    weights = eager_rows(model, seen.layers, ids, rows).float()
    chosen = weights.gather(-1, seen.top_position[seen.layers])[..., 0]
    return float((chosen < 0.98 * weights.amax(-1)).float().mean())


@law("3", "prefill in 2 and 7 chunks, the last of one token: positions that differ")
def positions_chunked(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    whole = read(model, ids)
    parts = [read(model, ids, chunks=chunks, cache=DynamicCache(config=model.config)) for chunks in CHUNKS]
    return sum(unequal(part.top_position, whole.top_position) for part in parts)


@law("3", "the same: probabilities and masses", 1e-5)
def numbers_chunked(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    whole = read(model, ids)
    parts = [read(model, ids, chunks=chunks, cache=DynamicCache(config=model.config)) for chunks in CHUNKS]
    return max(furthest(numbers(part), numbers(whole)) for part in parts)


@law("3", "generation against one pass over its text", 1e-5)
def numbers_generated(name: str) -> float:
    model, ids, rows = tiny_model(name), tokens(2, 18), [17, 18, 22]
    with probe(model, rows, SPANS) as seen:
        text = model.generate(ids, max_new_tokens=6, do_sample=False)
    forced = read(model, text, rows)
    return max(furthest(numbers(seen), numbers(forced)), unequal(seen.top_position, forced.top_position))


@law("4", "left- and right-padded batch against each sequence alone", 1e-5)
def numbers_padded(name: str) -> float:
    return max(_padded(name, left) for left in (True, False))


def _padded(name: str, left: bool) -> float:
    model, short, long = tiny_model(name), tokens(1, 13, seed=4), tokens(1, 24)
    start = 11 if left else 0
    ids = torch.zeros(2, 24, dtype=torch.long)
    ids[0, start : start + 13], ids[1] = short[0], long[0]
    with probe(model, [[start + 8, start + 12], [8, 12]]) as batch:
        model(input_ids=ids, attention_mask=(ids > 0).long())
    found = []
    for row, (one, shift) in enumerate([(short, start), (long, 0)]):
        with probe(model, [8, 12]) as alone:
            model(input_ids=one)
        layers = alone.layers
        found.append(unequal(batch.top_position[layers][:, row] - shift, alone.top_position[layers][:, 0]))
        found.append(furthest(batch.top_probability[:, row], alone.top_probability[:, 0]))
    return max(found)


@law("4", "static cache (40 slots) against dynamic", 1e-5)
def numbers_static(name: str) -> float | None:
    if name == "qwen3_next":
        return None  # transformers has no static cache for linear attention
    model, ids = tiny_model(name), tokens(1)
    cache = StaticCache(config=model.config, max_cache_len=40)
    static, dynamic = read(model, ids, chunks=(6, 9, 7, 1, 1), cache=cache), read(model, ids)
    return max(furthest(numbers(static), numbers(dynamic)), unequal(static.top_position, dynamic.top_position))


@law("5", "windows: positions that differ in cached decoding, before, at and after the crossing")
def positions_window(name: str) -> float | None:
    if name not in ("mistral", "gemma2", "gpt_oss"):
        return None
    model, ids, rows = tiny_model(name), tokens(1, 30), [WINDOW - 2, WINDOW - 1, WINDOW, 20, 29]
    seen = read(model, ids, rows, (5, *[1] * 25), DynamicCache(config=model.config))
    return unequal(seen.top_position[..., 0], eager_rows(model, seen.layers, ids, rows).argmax(-1))


@law("5", "mass of all keys, sink included, from 1", 1e-5)
def everything(name: str) -> float:
    model = tiny_model(name)
    with probe(model, ROWS, {"all": Span(0, 24)}) as seen:
        model(input_ids=tokens(2))
    whole = (seen.mass["all"] + seen.sink)[seen.layers]
    return furthest(whole, torch.ones_like(whole))


@law("17", "question over a cropped and reused cache against a fresh prefill", 1e-5)
def numbers_cropped(name: str) -> float | None:
    if name in ("mistral", "gemma2", "gpt_oss", "qwen3_next"):
        return None  # a window or a recurrent state cannot be rolled back
    model, prefix, question = tiny_model(name), tokens(1, 16), tokens(1, 8, seed=5)
    cache = DynamicCache(config=model.config)
    model(input_ids=prefix, past_key_values=cache)
    model(input_ids=question, past_key_values=cache)
    cache.crop(-8)
    with probe(model, [17, 23], SPANS) as reused:
        model(input_ids=question, past_key_values=cache)
    fresh = read(model, torch.cat([prefix, question], dim=1), [17, 23])
    return max(furthest(numbers(reused), numbers(fresh)), unequal(reused.top_position, fresh.top_position))


@law("18", "logits after an exception inside the block")
def logits_after_exception(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    plain = logits(model, ids)
    try:
        with probe(model, ROWS):
            raise KeyError
    except KeyError:
        return furthest(logits(model, ids), plain)


@law("19", "of five kinds of bad use, those that raise no ProbeError")
def bad_use(name: str) -> float:
    model, ids, silent = tiny_model(name), tokens(2), 5.0
    for options in ({"rows": [-1]}, {"rows": [99]}, {"rows": [1], "layers": [9]},
                    {"rows": [1], "spans": {"a": Span(30, 40)}}, {"rows": [1], "memory_budget_bytes": 10}):  # fmt: skip
        try:
            with probe(model, **options) as seen:
                model(input_ids=ids)
            _ = seen.mass, seen.lse
        except ProbeError:
            silent -= 1
    return silent


@law("21", "the same reading again, bit for bit")
def numbers_again(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    return furthest(numbers(read(model, ids)), numbers(read(model, ids)))


@law("22", "every registered attention function wrapped by another library (as kvpress does): reading")
def numbers_wrapped(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    plain, functions = read(model, ids), AttentionInterface._global_mapping
    kept = dict(functions)
    functions |= {key: lambda *a, f=function, **k: f(*a, **k) for key, function in kept.items()}
    try:
        return furthest(numbers(read(model, ids)), numbers(plain))
    finally:
        functions |= kept
