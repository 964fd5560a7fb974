"""What a probe saw: the rows it read, indexed [layer, batch, head, row]."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from haymaker.attention.canary import Architecture
from haymaker.attention.targets import HeadLike, as_head
from haymaker.errors import ProbeError
from haymaker.markup import counted

Part = list[tuple[int, int]]  # disjoint [start, stop), in order
Parts = list[Part]  # of one span name: one for the whole batch, or one for each of its rows
FILL = {"top_position": -1, "visible": False}  # what a layer without attention holds; NaN otherwise


@dataclass(eq=False)
class ForwardRows:
    """What one forward gave of a layer's rows, [batch, head, some, ...] by name."""

    columns: list[int]
    reached: Bool[Tensor, "#batch some"]
    found: dict[str, Tensor]


class Seen:
    """What a probe saw. Tensors are on the CPU in float32 and indexed [layer, batch, head, row], by all layers of the
    model; layers without attention (see `layers`) hold NaN, -1 or False. Reading raises ProbeError if a row was never
    reached, the model never ran, or a span lies beyond the sequence."""

    def __init__(self, rows: Tensor, spans: dict[str, Parts], architecture: Architecture, depth: int) -> None:
        self.rows = rows
        self.architecture = architecture
        self.length = 0  # slots that forwards covered
        self.spans, self._depth = spans, depth
        self._merged: dict[int, dict[str, Tensor]] = {}
        self._pieces: dict[int, list[ForwardRows]] = {}  # what forwards left since results were last read
        self._batches: dict[int, int] = {}
        self._reached: dict[int, Tensor] = {}
        self._frozen: dict[str, Tensor] | None = None

    def __repr__(self) -> str:
        heads, rows = max((layer.heads for layer in self.architecture.layers.values()), default=0), self.rows.shape[1]
        names = f"; spans {', '.join(self.spans)}" if self.spans else ""
        shape = f"{counted(len(self.layers), 'layer')} of {heads} heads"
        return f"Seen({shape}, {counted(rows, 'row')} of {self.length} positions{names})"

    @property
    def top_position(self) -> Int[Tensor, "layer batch head row topk"]:
        """Slots of the most attended keys, best first; -1 (and probability 0) where fewer are visible."""
        return self._read("top_position")

    @property
    def top_probability(self) -> Float[Tensor, "layer batch head row topk"]:
        """Their attention probabilities, 0 to 1. An attention sink (`sink`) is not a key, but takes its share."""
        return self._read("top_probability")

    @property
    def lse(self) -> Float[Tensor, "layer batch head row"]:
        """Log of the softmax normaliser (natural log, after scaling and softcap, sink included)."""
        return self._read("lse")

    @property
    def sink(self) -> Float[Tensor, "layer batch head row"]:
        """Probability that goes to a learned sink (GPT-OSS); 0 for models without."""
        return self._read("sink")

    @property
    def mass(self) -> dict[str, Float[Tensor, "layer batch head row"]]:
        """Attention probability on each span, 0 to 1; NaN where the row sees nothing of it."""
        return self._by_name("mass")

    @property
    def visible(self) -> dict[str, Bool[Tensor, "layer batch head row"]]:
        """Whether the row sees any of a span: False outside a sliding window, in padding, or after the row."""
        return self._by_name("visible")

    @property
    def value(self) -> dict[str, Float[Tensor, "layer batch head row head_dim"]]:
        """With `values=True`: what the head writes from each span, before a gate and o_proj."""
        return self._by_name("value")

    @property
    def output(self) -> Float[Tensor, "layer batch head row head_dim"]:
        """With `values=True`: the whole output of the head at the row, as attention gave it, before a gate.

        Where heads of layers differ in width, NaN stands behind those of the narrower ones; so in `value`.
        """
        return self._read("output")

    @property
    def layers(self) -> list[int]:
        """Layers whose attention was seen."""
        return sorted(self._tables)

    @property
    def reached(self) -> Bool[Tensor, "#batch row"]:
        """Which rows every seen layer has reached so far; reading this never raises."""
        none = torch.zeros_like(self.rows, dtype=torch.bool)
        return torch.stack([self._reached[layer] for layer in self._tables]).all(0) if self._tables else none

    def reached_only(self) -> "Seen":
        """The same without the rows that some batch row never reached, as when generation stopped early."""
        kept = self.reached.all(0)
        part = Seen(self.rows[:, kept], self.spans, self.architecture, self._depth)
        part.length = self.length
        part._merged = {i: {k: t[:, :, kept] for k, t in table.items()} for i, table in self._tables.items()}
        part._reached = {layer: reached[:, kept] for layer, reached in self._reached.items()}
        part.freeze()
        return part

    def head(self, head: HeadLike) -> dict[str, Tensor]:
        """`top_position`, `top_probability` [batch, row, topk] and `lse` [batch, row] of one head."""
        layer, index = as_head(head)
        if layer not in self._tables or index >= self.architecture.layers[layer].heads:
            raise ProbeError(f"expected a head of layers {self.layers}, found {as_head(head)}")
        return {name: self._read(name)[layer, :, index] for name in ("top_position", "top_probability", "lse")}

    def store(
        self, layer: int, columns: list[int], reached: Bool[Tensor, "#batch some"], found: dict[str, Tensor]
    ) -> None:
        """Keeps `found` [batch, head, some, ...] as the results of a layer's rows at `columns`."""
        pieces, batch = self._pieces.setdefault(layer, []), len(found["lse"])
        if len(columns) == self.rows.shape[1] and bool(reached.all()):
            pieces.clear()  # everything is overwritten
            self._merged.pop(layer, None)
        elif batch != (before := self._batches.get(layer, batch)):
            raise ProbeError(f"expected a batch of {before} as before, found {batch}: one probe per batch")
        self._batches[layer] = batch
        pieces.append(ForwardRows(columns, reached, found))
        if len(pieces) > self.rows.shape[1]:  # rows are computed over and over
            self._merge(layer)

    @property
    def _tables(self) -> dict[int, dict[str, Tensor]]:
        """Results [batch, head, row, ...] by layer and name."""
        for layer in list(self._pieces):
            self._merge(layer)
        return self._merged

    def _merge(self, layer: int) -> None:
        """Puts what forwards left into the layer's tables; in decoding a piece is one row, and there are many."""
        table = self._merged.setdefault(layer, {})
        done = self._reached.setdefault(layer, torch.zeros_like(self.rows, dtype=torch.bool))
        for piece in _joined(self._pieces.pop(layer)):
            done[:, piece.columns] |= piece.reached
            for name, part in piece.found.items():
                table[name] = self._written(table.get(name), name, piece, part)

    def _written(self, table: Tensor | None, name: str, piece: ForwardRows, part: Tensor) -> Tensor:
        count, everything = self.rows.shape[1], bool(piece.reached.all())
        if everything and piece.columns == list(range(count)):
            return part
        if table is None:
            table = part.new_full((*part.shape[:2], count, *part.shape[3:]), FILL.get(name, torch.nan))
        where = piece.reached.to(part.device).view(len(piece.reached), 1, -1, *[1] * (part.ndim - 3))
        table[:, :, piece.columns] = part if everything else torch.where(where, part, table[:, :, piece.columns])
        return table

    def freeze(self) -> None:
        """Moves the results to the CPU; done on exit."""
        names = next(iter(self._tables.values()), {})
        self._frozen = {name: self._stack(name) for name in names}
        self._merged = {
            layer: {name: self._frozen[name][layer] for name in table} for layer, table in self._tables.items()
        }

    def _stack(self, name: str) -> Tensor:
        tables = {layer: table[name] for layer, table in self._tables.items()}
        first = next(iter(tables.values()))
        shape = map(max, zip(*(table.shape for table in tables.values()), strict=True))  # layers may differ
        result = first.new_full((self._depth, *shape), FILL.get(name, torch.nan))
        for layer, table in tables.items():
            result[(layer, *map(slice, table.shape))] = table
        return result.cpu().float() if result.is_floating_point() else result.cpu()

    def _read(self, name: str) -> Tensor:
        self._require()
        if self._frozen is not None and name in self._frozen:
            return self._frozen[name]
        if name not in next(iter(self._tables.values())):
            raise ProbeError(f"expected probe(..., values=True) for {name!r}, found values=False")
        return self._stack(name)

    def _by_name(self, table: str) -> dict[str, Tensor]:
        if not self.spans:
            return {}
        stacked = self._read(table)
        return {name: stacked[:, :, :, :, index] for index, name in enumerate(self.spans)}

    def _require(self) -> None:
        if not self.length:
            raise ProbeError("expected a forward of this model inside the block, in its thread; found none")
        missing = self.rows[~self.reached].unique().tolist()
        if missing or not self._tables:
            raise ProbeError(
                f"rows {missing or 'asked for'} were never reached: forwards covered positions 0 to {self.length - 1}; "
                "ask for rows in there, or read `seen.reached_only()` where generation may stop early"
            )
        for name, parts in self.spans.items():
            if (stop := max(part[-1][1] for part in parts)) > self.length:
                raise ProbeError(f"span {name!r} ends at {stop}, beyond the sequence of {self.length} positions")


def _joined(pieces: list[ForwardRows]) -> list[ForwardRows]:
    """Neighbours of different rows as one piece; a row that comes again begins another, which is written later."""
    groups: list[list[ForwardRows]] = []
    taken: set[int] = set()
    for piece in pieces:
        if not groups or taken & set(piece.columns):
            groups.append([])
            taken = set()
        groups[-1].append(piece)
        taken |= set(piece.columns)
    return [group[0] if len(group) == 1 else _one_of(group) for group in groups]


def _one_of(group: list[ForwardRows]) -> ForwardRows:
    columns = [column for piece in group for column in piece.columns]
    found = {name: torch.cat([piece.found[name] for piece in group], dim=2) for name in group[0].found}
    return ForwardRows(columns, torch.cat([piece.reached for piece in group], dim=1), found)
