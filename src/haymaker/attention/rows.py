"""What a row of an attention call can see, and its scores: q.K^T of a few rows in fp32, grouped by KV head."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from haymaker.attention.calls import Call
from haymaker.attention.hook import PLAIN_BACKENDS

KEY_BLOCK = 8192  # keys converted to fp32 at a time, so that half-precision caches are never copied whole
SEARCH_BLOCK = 128  # keys searched one by one for the highest score; larger blocks are compared first


@dataclass
class VisibleKeys:
    """The keys that some rows see: all before `start`, none from `stop` on, between them those not `hidden`."""

    start: int
    stop: int
    hidden: Bool[Tensor, "#batch #heads rows keys"] | None = None  # of keys [start, stop)
    bias: Float[Tensor, "#batch #heads rows keys"] | None = None  # added to scores of keys [0, stop)

    def sees(self, start: int, stop: int, rows: int) -> Bool[Tensor, "#batch #heads rows"]:
        """Whether each row sees any of keys [start, stop), clipped to what exists. Where nothing is hidden the CPU
        knows it, and need not wait for a device."""
        start, stop = max(start, 0), min(stop, self.stop)
        device = None if self.hidden is None else self.hidden.device
        if start >= stop:
            return torch.zeros(1, 1, rows, dtype=torch.bool, device=device)
        if self.hidden is None or start < self.start:
            return torch.ones(1, 1, rows, dtype=torch.bool, device=device)
        return ~self.hidden[..., start - self.start : stop - self.start].all(-1)


def visible_keys(call: Call, slots: Int[Tensor, "#batch rows"]) -> VisibleKeys:
    """What the rows at `slots` (on the CPU) see in a call, whatever form its mask has (see `Call.mask`)."""
    mask, keys = call.mask, call.key.shape[2]
    if mask is None:
        return packed_keys(call, slots) if is_packed(call) else causal_keys(call, slots)
    local = (slots - call.step.first).to(call.query.device)
    if isinstance(mask, BlockMask):
        index = torch.arange(max(keys, call.step.batch), device=local.device)
        batch, key = index[: call.step.batch, None, None, None], index[:keys]
        hidden = ~mask.mask_mod(batch, torch.zeros_like(batch), local[:, None, :, None], key)
    elif mask.ndim == 2:
        padding = torch.nn.functional.pad(mask[:, :keys].bool(), (0, max(0, keys - mask.shape[1])))
        hidden = causal_hidden(call, slots, 0, keys).to(local.device) | ~padding[:, None, None, :]
    else:
        picked = take_rows(mask[..., :keys], local if mask.shape[2] > 1 else torch.zeros_like(local))
        hidden = ~picked if mask.dtype == torch.bool else picked <= torch.finfo(mask.dtype).min / 2
        bias = None if mask.dtype == torch.bool else picked.masked_fill(hidden, 0)
        return VisibleKeys(0, keys, hidden if hidden.any() else None, bias if bias is not None and bias.any() else None)
    return VisibleKeys(0, keys, hidden if hidden.any() else None)


def mask_bytes(call: Call) -> int:
    """Bytes for each row, key and batch row that `visible_keys` takes at most, its temporaries included."""
    if not isinstance(call.mask, Tensor) or call.mask.ndim != 4:
        return 3  # what comes after, what lies before the window, and both
    additive = 0 if call.mask.dtype == torch.bool else 2 * call.mask.element_size()
    return call.mask.shape[1] * (2 + additive)


def causal_hidden(call: Call, slots: Int[Tensor, "#batch rows"], start: int, stop: int) -> Bool[Tensor, "..."]:
    key, row = torch.arange(start, stop) + call.first_key, slots[:, None, :, None]
    hidden = key > row
    return hidden if call.window is None else hidden | (key <= row - call.window)


def causal_keys(call: Call, slots: Int[Tensor, "#batch rows"]) -> VisibleKeys:
    """Without a mask: nothing is hidden, or what comes after the row, or lies before its window."""
    keys = call.key.shape[2]
    if not call.causal:
        return VisibleKeys(0, keys)
    stop = min(keys, int(slots.max()) - call.first_key + 1)
    start = min(stop, int(slots.min()) - call.first_key + 1) if call.window is None else 0
    hidden = causal_hidden(call, slots, start, stop).to(call.query.device) if start < stop else None
    return VisibleKeys(start, stop, hidden)


def is_packed(call: Call) -> bool:
    """Flash backends find packed sequences in the position ids, where others get a mask."""
    ids = call.position_ids
    if call.backend in PLAIN_BACKENDS or ids is None or call.step.first or ids.shape[0] != 1:
        return False
    return bool((ids.diff(dim=-1) != 1).any())


def packed_keys(call: Call, slots: Int[Tensor, "#batch rows"]) -> VisibleKeys:
    assert call.position_ids is not None
    document = (call.position_ids[0].cpu().diff(prepend=call.position_ids[0, :1].cpu() - 1) != 1).cumsum(0)
    keys = call.key.shape[2]
    hidden = causal_hidden(call, slots, 0, keys) | (document[slots][:, None, :, None] != document)
    return VisibleKeys(0, keys, hidden.to(call.query.device))


def take_rows(tensor: Tensor, rows: Int[Tensor, "#batch rows"]) -> Tensor:
    """tensor [batch, head, row, x] at `rows`, the same for all of the batch or one list each."""
    if rows.shape[0] == 1:
        return tensor.index_select(2, rows[0])
    index = rows[:, None, :, None].expand(-1, tensor.shape[1], -1, tensor.shape[3])
    return tensor.expand(rows.shape[0], -1, -1, -1).gather(2, index)


def scores(
    call: Call, slots: Int[Tensor, "#batch rows"], visible: VisibleKeys
) -> Float[Tensor, "batch heads rows keys"]:
    """Attention scores of rows before the softmax, in fp32 at least; -inf where a key is hidden.

    Query heads are grouped by their KV head, so keys are never repeated. Scaling and softcap are those of the call:
    s = softcap * tanh(scaling * q.k / softcap) (Gemma 2, arXiv 2408.00118, section 2).
    """
    rows = taken(call, call.query, slots)
    batch, heads, count, size = rows.shape
    keys = call.key[:, :, : visible.stop]
    grouped = rows.reshape(batch, keys.shape[1], heads // keys.shape[1] * count, size)
    if _widens(grouped, keys):
        result = torch.bmm(grouped[0], keys[0].transpose(-1, -2), out_dtype=torch.float32).mul_(call.scaling)
    else:
        wide = grouped.to(torch.promote_types(rows.dtype, torch.float32)) * call.scaling
        result = products(wide, keys)
    result = result.view(batch, heads, count, visible.stop)
    if call.softcap is not None:
        result = result.div_(call.softcap).tanh_()
        result = result * call.softcap if result.requires_grad else result.mul_(call.softcap)  # autograd needs the tanh
    if visible.bias is not None:
        result += visible.bias
    if visible.hidden is not None:
        result[..., visible.start :].masked_fill_(visible.hidden, -torch.inf)
    return result


def taken(call: Call, tensor: Float[Tensor, "batch heads queries dim"], slots: Int[Tensor, "#batch rows"]) -> Tensor:
    """The rows at `slots` of a call's queries, or of something else that has one for each of them."""
    if tensor.shape[2] == 1:  # the row of a decoding step
        return tensor.expand(-1, -1, slots.shape[1], -1)
    return take_rows(tensor, (slots - call.step.first).to(tensor.device))


def _widens(rows: Tensor, keys: Tensor) -> bool:
    """Whether the device multiplies half-precision numbers to fp32 without copies of the keys in fp32, and need not
    say how to derive it. Their products are exact in fp32, so nothing is lost by that."""
    half = rows.dtype == keys.dtype and rows.dtype in (torch.bfloat16, torch.float16)
    derived = torch.is_grad_enabled() and (rows.requires_grad or keys.requires_grad)
    return half and rows.is_cuda and len(rows) == 1 and not derived


def products(
    rows: Float[Tensor, "batch kv_heads rows dim"], keys: Float[Tensor, "batch kv_heads keys dim"]
) -> Float[Tensor, "batch kv_heads rows keys"]:
    """rows.keys^T in the precision of the rows."""
    if _multiplies_in_place(keys, rows.dtype):
        return rows @ keys.transpose(-1, -2)
    result = rows.new_empty(*rows.shape[:3], keys.shape[2])
    for batch, some, block in _pieces(keys, rows.dtype):
        result[batch, ..., some] = rows[batch] @ block.transpose(-1, -2)
    return result


def _multiplies_in_place(tensor: Float[Tensor, "batch kv_heads keys dim"], dtype: torch.dtype) -> bool:
    """Whether matmul takes keys or values as they are, or first copies those of several batch rows together."""
    together = len(tensor) == 1 or tensor.stride(0) == tensor.shape[1] * tensor.stride(1)
    return together and tensor.dtype == dtype


def _pieces(
    tensor: Float[Tensor, "batch kv_heads keys dim"], dtype: torch.dtype
) -> Iterator[tuple[slice, slice, Float[Tensor, "1 kv_heads some dim"]]]:
    """Keys or values of one batch row and some positions at a time, with where they are, in the wanted precision."""
    for row in range(len(tensor)):
        for start in range(0, tensor.shape[2], KEY_BLOCK):
            batch, some = slice(row, row + 1), slice(start, start + KEY_BLOCK)
            yield batch, some, tensor[batch, :, some].to(dtype)


def softmax_with_sinks(
    scores: Float[Tensor, "batch heads rows keys"], sinks: Float[Tensor, " heads"] | None, *, in_place: bool = False
) -> tuple[Float[Tensor, "batch heads rows keys"], Float[Tensor, "batch heads rows"]]:
    """Probabilities of keys, and the log of their normaliser, exp(sink) included. NaN where nothing is seen.

    in_place: write the probabilities over the scores, which is all the memory a probe may take for a row.
    """
    top = scores.amax(-1)
    weights = torch.softmax(scores, -1, out=scores) if in_place else scores.softmax(-1)
    lse = torch.where(top.isinf(), top, top - weights.amax(-1).log())
    if sinks is None:
        return weights, lse
    total = torch.logaddexp(lse, sinks.to(lse.dtype)[None, :, None])
    share = (lse - total).exp()[..., None]
    return weights.mul_(share) if in_place else weights * share, total


def highest(
    scores: Float[Tensor, "batch heads rows keys"],
) -> tuple[Float[Tensor, "batch heads rows 1"], Int[Tensor, "batch heads rows 1"]]:
    """The largest score of each row and its index, the lowest among equals (which topk does not promise).

    A CPU compares many numbers at once only where it need not say which one was the largest, so the best block of keys
    is found first. The last block is filled up with keys before it; they score less, or their own block had been taken.
    """
    keys = scores.shape[-1]
    if scores.device.type != "cpu" or keys < 4 * SEARCH_BLOCK:
        return scores.max(-1, keepdim=True)
    whole = keys // SEARCH_BLOCK * SEARCH_BLOCK
    best = scores[..., :whole].unflatten(-1, (-1, SEARCH_BLOCK)).amax(-1)
    if whole < keys:
        best = torch.cat([best, scores[..., whole:].amax(-1, keepdim=True)], dim=-1)
    start = (best.argmax(-1, keepdim=True) * SEARCH_BLOCK).clamp(max=keys - SEARCH_BLOCK)
    value, place = scores.gather(-1, start + torch.arange(SEARCH_BLOCK)).max(-1, keepdim=True)
    return value, start + place


def weighted(
    weights: Float[Tensor, "batch heads rows keys"], values: Float[Tensor, "batch kv_heads keys dim"]
) -> Float[Tensor, "batch heads rows dim"]:
    """Sum of p_j v_j, grouped by KV head, in the precision of the weights."""
    batch, heads, rows, keys = weights.shape
    grouped = weights.reshape(batch, values.shape[1], heads // values.shape[1] * rows, keys)
    if _multiplies_in_place(values, weights.dtype):
        result = grouped @ values
    else:
        result = grouped.new_zeros(*grouped.shape[:3], values.shape[3])
        for one, some, block in _pieces(values, weights.dtype):
            result[one] += grouped[one][..., some] @ block
    return result.view(batch, heads, rows, values.shape[3])
