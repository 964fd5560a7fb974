"""What a row of an attention call can see, and its scores: q.K^T of a few rows in fp32, grouped by KV head."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from haymaker.calls import PLAIN_BACKENDS, Call

KEY_BLOCK = 8192  # keys converted to fp32 at a time, so that half-precision caches are never copied whole


@dataclass
class Sight:
    """The keys that some rows see: all before `start`, none from `stop` on, between them those not `hidden`."""

    start: int
    stop: int
    hidden: Bool[Tensor, "#batch #heads rows keys"] | None = None  # of keys [start, stop)
    bias: Float[Tensor, "#batch #heads rows keys"] | None = None  # added to scores of keys [0, stop)

    def sees(self, start: int, stop: int, rows: int, device: torch.device) -> Bool[Tensor, "#batch #heads rows"]:
        """Whether each row sees any of keys [start, stop), clipped to what exists."""
        start, stop = max(start, 0), min(stop, self.stop)
        if start >= stop:
            return torch.zeros(1, 1, rows, dtype=torch.bool, device=device)
        if self.hidden is None or start < self.start:
            return torch.ones(1, 1, rows, dtype=torch.bool, device=device)
        return ~self.hidden[..., start - self.start : stop - self.start].all(-1)


def sight_of(call: Call, slots: Int[Tensor, "#batch rows"]) -> Sight:
    """What the rows at `slots` (on the CPU) see in a call. Mask forms: heads.md 5.8."""
    mask, keys = call.mask, call.key.shape[2]
    if mask is None:
        return packed_sight(call, slots) if is_packed(call) else causal_sight(call, slots)
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
        return Sight(0, keys, hidden if hidden.any() else None, bias if bias is not None and bias.any() else None)
    return Sight(0, keys, hidden if hidden.any() else None)


def causal_hidden(call: Call, slots: Int[Tensor, "#batch rows"], start: int, stop: int) -> Bool[Tensor, "..."]:
    key, row = torch.arange(start, stop) + call.first_key, slots[:, None, :, None]
    hidden = key > row
    return hidden if call.window is None else hidden | (key <= row - call.window)


def causal_sight(call: Call, slots: Int[Tensor, "#batch rows"]) -> Sight:
    """Without a mask: nothing is hidden, or what comes after the row, or lies before its window."""
    keys = call.key.shape[2]
    if not call.causal:
        return Sight(0, keys)
    stop = min(keys, int(slots.max()) - call.first_key + 1)
    start = min(stop, int(slots.min()) - call.first_key + 1) if call.window is None else 0
    hidden = causal_hidden(call, slots, start, stop).to(call.query.device) if start < stop else None
    return Sight(start, stop, hidden)


def is_packed(call: Call) -> bool:
    """Flash backends find packed sequences in the position ids, where others get a mask."""
    ids = call.position_ids
    if call.backend in PLAIN_BACKENDS or ids is None or call.step.first or ids.shape[0] != 1:
        return False
    return bool((ids.diff(dim=-1) != 1).any())


def packed_sight(call: Call, slots: Int[Tensor, "#batch rows"]) -> Sight:
    assert call.position_ids is not None
    document = (call.position_ids[0].cpu().diff(prepend=call.position_ids[0, :1].cpu() - 1) != 1).cumsum(0)
    keys = call.key.shape[2]
    hidden = causal_hidden(call, slots, 0, keys) | (document[slots][:, None, :, None] != document)
    return Sight(0, keys, hidden.to(call.query.device))


def take_rows(tensor: Tensor, rows: Int[Tensor, "#batch rows"]) -> Tensor:
    """tensor [batch, head, row, x] at `rows`, the same for all of the batch or one list each."""
    if rows.shape[0] == 1:
        return tensor.index_select(2, rows[0])
    index = rows[:, None, :, None].expand(-1, tensor.shape[1], -1, tensor.shape[3])
    return tensor.expand(rows.shape[0], -1, -1, -1).gather(2, index)


def scores(call: Call, slots: Int[Tensor, "#batch rows"], sight: Sight) -> Float[Tensor, "batch heads rows keys"]:
    """Attention scores of rows before the softmax, in fp32 at least; -inf where a key is hidden.

    Query heads are grouped by their KV head, so keys are never repeated. Scaling and softcap are those of the call:
    s = softcap * tanh(scaling * q.k / softcap) (Gemma 2, arXiv 2408.00118, section 2).
    """
    local = (slots - call.step.first).to(call.query.device)
    dtype = torch.promote_types(call.query.dtype, torch.float32)
    rows = take_rows(call.query, local).to(dtype) * call.scaling
    batch, heads, count, size = rows.shape
    keys = call.key[:, :, : sight.stop]
    grouped = rows.reshape(batch, keys.shape[1], heads // keys.shape[1] * count, size)
    result = products(grouped, keys).view(batch, heads, count, sight.stop)
    if call.softcap is not None:
        result = result.div_(call.softcap).tanh_() * call.softcap  # tanh keeps its result for autograd
    if sight.bias is not None:
        result += sight.bias
    if sight.hidden is not None:
        result[..., sight.start :].masked_fill_(sight.hidden, -torch.inf)
    return result


def products(
    rows: Float[Tensor, "batch kv_heads rows dim"], keys: Float[Tensor, "batch kv_heads keys dim"]
) -> Float[Tensor, "batch kv_heads rows keys"]:
    """rows.keys^T in the precision of the rows."""
    if keys.dtype == rows.dtype:
        return rows @ keys.transpose(-1, -2)
    blocks = keys.split(KEY_BLOCK, dim=2)
    return torch.cat([rows @ block.to(rows.dtype).transpose(-1, -2) for block in blocks], dim=-1)


def softmax_with_sinks(
    scores: Float[Tensor, "batch heads rows keys"], sinks: Float[Tensor, " heads"] | None
) -> tuple[Float[Tensor, "batch heads rows keys"], Float[Tensor, "batch heads rows"]]:
    """Probabilities of keys, and the log of their normaliser, exp(sink) included. NaN where nothing is seen."""
    top = scores.amax(-1)
    weights = scores.softmax(-1)
    lse = torch.where(top.isinf(), top, top - weights.amax(-1).log())
    if sinks is None:
        return weights, lse
    total = torch.logaddexp(lse, sinks.to(lse.dtype)[None, :, None])
    return weights * (lse - total).exp()[..., None], total


def weighted(
    weights: Float[Tensor, "batch heads rows keys"], values: Float[Tensor, "batch kv_heads keys dim"]
) -> Float[Tensor, "batch heads rows dim"]:
    """Sum of p_j v_j, grouped by KV head, in the precision of the weights."""
    batch, heads, rows, keys = weights.shape
    grouped = weights.reshape(batch, values.shape[1], heads // values.shape[1] * rows, keys)
    return (grouped @ values.to(weights.dtype)).view(batch, heads, rows, values.shape[3])
