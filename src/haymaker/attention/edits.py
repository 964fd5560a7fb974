"""The block that writes edits over head outputs, and the scopes that say when."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from haymaker.attention.calls import Call, Step, Tool
from haymaker.attention.canary import Architecture, Site, at_projection, check_architecture, check_heads
from haymaker.attention.chance import dropping
from haymaker.attention.edit_kinds import Edit, Knockout, Mean, Patch, Resample, Uniform, Zero
from haymaker.attention.generating import watched
from haymaker.attention.hook import attach, decoder_of, open_tools, unwrapped
from haymaker.attention.recording import Recording
from haymaker.attention.targets import Rows, Target, Where, reach, row_table
from haymaker.console import note
from haymaker.errors import ProbeError
from haymaker.records import Head

__all__ = ["Edit", "Knockout", "Mean", "Patch", "Resample", "Uniform", "Zero", "edit"]

SCOPES = ("all", "prompt", "last", "decode")


@contextmanager
def edit(
    model: Any,
    *edits: Edit,
    scope: str | Rows = "all",
    batch_rows: Iterable[int] | None = None,
    site: Site | None = None,
    prompt_length: int | Sequence[int] | None = None,
) -> Iterator["Editing"]:
    """Writes edits over the outputs of heads in whatever runs inside the block, in this thread, `generate` included.

    Blocks may be nested and combined. The model is as it was when the block ends, also after an exception; under
    autograd nothing is written in place.

    Args:
        model: Any Hugging Face decoder whose attention goes through transformers' attention interface.
        edits: What to write over which heads: Zero, Mean, Uniform, Resample, Knockout, Patch.
        scope: When. "all" positions; "prompt", all of the prompt; "last", its last token; "decode", what comes after
            it; several joined, as "last+decode"; or explicit positions (slots), shared or one list for each batch row.
        batch_rows: Only these rows of the batch; an edit's own `batch_rows` comes first. In `generate` rows are its
            prompts, with all their beams and returned sequences.
        site: Where Zero, Mean, Resample and Patch write: "attention", the output of the attention function, or
            "o_proj", the input of the output projection. They differ where something stands between (a gate: for Patch
            and Mean; a sub-norm: for all). By default the first where nothing stands between, else the second, which
            equals zeroed columns of o_proj; the block's `site` says which. Knockout and Uniform always act in the
            attention.
        prompt_length: Slots of the prompt, one number or one for each batch row. `generate` knows it. Without it, a
            forward that begins a sequence holds the whole prompt, and one that goes on with a sequence is an error in
            the scopes "prompt", "last" and "decode": it may bring more of the prompt, or new tokens.

    Yields:
        The open block, with its `site`, and in `writes` how many layer calls it changed so far.

    Raises:
        ProbeError: The same head in overlapping scopes and batch rows; heads that the model lacks; values that do not
            fit; a scope that cannot be known; explicit positions that were never reached, or forwards of which nothing
            was written (on exit); gradient checkpointing while training, which would recompute without the edit; an
            architecture that fails the check.

    Examples:
        >>> ids = torch.tensor([[5, 6, 7, 8]])
        >>> with hm.edit(lm.model, hm.Zero([(3, 4), "2-1"]), scope="last") as block:
        ...     changed = lm.model(input_ids=ids).logits
        >>> block.writes
        2
    """
    decoder, architecture = decoder_of(model), check_architecture(model)
    rows = None if batch_rows is None else tuple(batch_rows)
    limited = [one if rows is None or one.batch_rows is not None else replace(one, batch_rows=rows) for one in edits]
    editing = Editing(decoder, architecture, limited, Scope.parse(scope, prompt_length), site)
    with watched(unwrapped(model)), attach(editing) as attachment, editing.at_o_proj():
        elsewhere = attachment.forwards_elsewhere
        yield editing
        elsewhere = attachment.forwards_elsewhere - elsewhere
    editing.scope.check_reached()
    editing.check_written(elsewhere)


@dataclass(eq=False)
class Scope:
    """When edits apply: named parts, or a table of rows [batch or 1, row]; prompt lengths are [batch or 1, 1]."""

    parts: tuple[str, ...]
    table: Tensor | None = None
    lengths: Tensor | None = None
    reached: Tensor | None = None  # which of the table's rows some forward computed
    whole: Tensor | None = None  # ids of the last forward that began a sequence and kept no keys
    ended: int | None = None  # where the last prompt ended that was taken to be whole, though its keys are kept

    @classmethod
    def parse(cls, scope: str | Rows, prompt_length: int | Sequence[int] | None) -> "Scope":
        lengths = None if prompt_length is None else torch.as_tensor(prompt_length).view(-1, 1)
        if not isinstance(scope, str):
            return cls(("rows",), row_table(scope), lengths)
        parts = tuple(scope.split("+"))
        if unknown := [part for part in parts if part not in SCOPES]:
            raise ProbeError(f"expected a scope of {', '.join(SCOPES)}, joined by +, or rows; found {unknown}")
        return cls(parts, None, lengths)

    def overlaps(self, other: "Scope") -> bool:
        """Whether both may apply to the same position."""
        if self.table is not None and other.table is not None:
            return bool(torch.isin(self.table, other.table).any())
        mine, its = set(self.parts), set(other.parts)
        before, after = {"prompt", "last"}, {"decode"}
        return not ((mine <= before and its <= after) or (mine <= after and its <= before))

    def places(self, step: Step) -> list[Where]:
        """The positions of a forward that are in scope."""
        if {"prompt", "decode"} <= set(self.parts):  # then there is nothing to tell apart
            return [Where(step.first, slice(0, step.count))]
        found = [getattr(self, f"_{part}")(step) for part in self.parts]
        return [where for where in found if where is not None]

    def lengths_in(self, step: Step) -> Tensor | None:
        """Slots of the prompts [batch or 1, 1] of a forward; None where all that ran of the sequence is prompt.

        Raises ProbeError where that cannot be known: a forward on top of a filled cache may bring another piece of the
        prompt, a new token, or candidates of assisted decoding, and one without a cache may begin anew or go on.
        """
        if self.lengths is not None:
            return per_row(self.lengths, step)
        if step.prompt_length is not None:
            return torch.tensor([[step.prompt_length]])
        if step.first or self._goes_on(step):
            before = f"a sequence of {step.first}" if step.first else "one of the same"
            raise ProbeError(
                f"scope {'+'.join(self.parts)}: expected to know where the prompt ends, found a forward of "
                f"{step.count} tokens that goes on with {before} "
                "tokens; they may be the prompt's or new ones: give prompt_length"
            )
        return None

    def _goes_on(self, step: Step) -> bool:
        """Whether a forward without a cache runs the tokens of the one before it again, and more."""
        if step.cached or step.tokens is None:
            return False
        before, self.whole = self.whole, step.tokens
        if before is None or before.shape[0] != step.batch or before.shape[1] >= step.count:
            return False
        return torch.equal(before, step.tokens[:, : before.shape[1]])

    def check_reached(self) -> None:
        """Raises ProbeError for rows of the table that no forward computed, if there was any forward."""
        if self.table is not None and self.reached is not None and not self.reached.all():
            missing = self.table[~self.reached].unique().tolist()
            raise ProbeError(
                f"rows {missing} were never reached: the edit did nothing there; scope it to what is computed"
            )

    def _all(self, step: Step) -> Where | None:
        return Where(step.first, slice(0, step.count))

    def _prompt(self, step: Step) -> Where | None:
        lengths = self.lengths_in(step)
        return self._all(step) if lengths is None else self._compared(step, torch.lt, lengths)

    def _decode(self, step: Step) -> Where | None:
        lengths = self.lengths_in(step)
        return None if lengths is None else self._compared(step, torch.ge, lengths)

    def _compared(self, step: Step, compare: Callable[..., Tensor], lengths: Tensor) -> Where | None:
        """Slots on one side of the prompt's length."""
        valid = compare(torch.arange(step.slots.start, step.slots.stop)[None], lengths)
        if not valid.any():
            return None
        if len(valid) == 1:
            inside = valid[0].nonzero()
            return Where(step.first, slice(int(inside[0]), int(inside[-1]) + 1))
        return Where(step.first, torch.arange(step.count)[None], valid)

    def _last(self, step: Step) -> Where | None:
        lengths = self.lengths_in(step)
        if lengths is not None:
            if self.lengths is None and step.first and step.first == self.ended:
                raise ProbeError(
                    f"scope {'+'.join(self.parts)}: expected one forward that ends the prompt, found one of "
                    f"{self.ended} tokens, the last of which was written, and `generate` that goes on with them to "
                    f"{int(lengths[0])}; give prompt_length, or fill the cache outside of the block"
                )
            return self._listed(step, lengths - 1)
        if step.packed:
            raise ProbeError(
                f"scope {'+'.join(self.parts)}: expected one sequence in a row, found several, by position ids that "
                "begin anew, each with a last token of its own; give their positions as explicit rows"
            )
        self.ended = step.slots.stop if step.cached else None
        last = torch.tensor([[step.slots.stop - 1]])
        if step.padding is not None and step.padding.ndim == 2:
            last = (step.padding[:, : step.slots.stop].cpu() != 0).mul(torch.arange(step.slots.stop)).argmax(1)[:, None]
        return self._listed(step, last)

    def _listed(self, step: Step, table: Tensor) -> Where | None:
        found = reach(table, step)
        return found and Where(step.first, found.slots - step.first, found.reached, torch.full_like(found.slots, -1))

    def _rows(self, step: Step) -> Where | None:
        assert self.table is not None
        self.reached = torch.zeros_like(self.table, dtype=torch.bool) if self.reached is None else self.reached
        found = reach(per_row(self.table, step), step)
        if found is None:
            return None
        self.reached[:, found.columns] |= found.reached[:: step.rows_each if len(self.table) > 1 else 1]
        return Where(step.first, found.slots - step.first, found.reached, torch.tensor([found.columns]))


def per_row(table: Tensor, step: Step) -> Tensor:
    """A table by prompts as one by rows of a forward, where `generate` gives each prompt several."""
    return table.repeat_interleave(step.rows_each, dim=0) if len(table) > 1 else table


class Editing(Tool):
    """An open `edit` block. site: where its values are written; writes: how many layer calls it changed so far."""

    def __init__(
        self,
        decoder: PreTrainedModel,
        architecture: Architecture,
        edits: Sequence[Edit],
        scope: Scope,
        site: Site | None,
    ) -> None:
        super().__init__(decoder)
        self.architecture, self.edits, self.scope = architecture, edits, scope
        self.site: Site = site or architecture.site
        self.writes = self.forwards = 0
        self.told = False  # whether Haymaker's own decoder said where prompts end, and when they are over
        self._pairs: dict[tuple, list[tuple[Edit, Tensor, Tensor, list[int]]]] = {}
        for one in edits:
            check_heads(architecture, one.heads)
            if one.needs_call and site == "o_proj":
                raise ProbeError(f"{one}: expected site='attention', found 'o_proj', where queries and keys are gone")
            for head in one.heads:
                one.check(head, architecture.layers[head.layer].head_dim, self.site)
        self._check_conflicts()

    def _check_conflicts(self) -> None:
        others = [
            (one, tool.scope) for tool in open_tools(self.decoder) if isinstance(tool, Editing) for one in tool.edits
        ]
        placed: dict[Head, list[tuple[Edit, Scope]]] = {}
        for one, scope in [*others, *((one, self.scope) for one in self.edits)]:
            for head in one.heads:
                for other, its in placed.get(head, ()):
                    if scope.overlaps(its) and _share(one.batch_rows, other.batch_rows):
                        raise ProbeError(f"{head}: {other} and {one} would write the same positions; keep one of them")
                placed.setdefault(head, []).append((one, scope))

    def begin(self, step: Step) -> None:
        recomputes = self.decoder.training and torch.is_grad_enabled()
        if recomputes and any(getattr(module, "gradient_checkpointing", False) for module in self.decoder.modules()):
            raise ProbeError("gradient checkpointing would recompute without the edit: disable it, or call eval()")
        if step.steady == 0 and self.scope.parts != ("all",):
            raise ProbeError(
                f"scope {'+'.join(self.scope.parts)}: expected one prompt, found guidance, which runs another beside "
                "it; use scope all"
            )
        if step.prompts and step.batch % step.prompts:
            raise ProbeError(f"expected rows of {step.prompts} prompts, found a batch of {step.batch}")
        if self.decoder.training and not self.forwards and not torch.is_grad_enabled() and dropping(self.decoder):
            note("hm.edit: the model is in train mode with dropout on, so outputs differ by chance: call model.eval()",
                 style="yellow")  # fmt: skip
        self.forwards += 1
        self.told |= step.prompt_length is not None and step.prompts is None
        step.memo[self] = self.scope.places(step)

    def check_written(self, elsewhere: int) -> None:
        """Raises ProbeError where forwards ran, `elsewhere` of them in other threads, and nothing was written."""
        due = any(one.heads and one.batch_rows != () for one in self.edits)
        if self.writes or self.told or not due or not self.forwards + elsewhere:
            return
        where = f"{elsewhere} in other threads, where a block does not reach" if elsewhere else "none in its scope"
        raise ProbeError(
            f"{self.edits[0]}: expected something to write in scope {'+'.join(self.scope.parts)}, found "
            f"{self.forwards + elsewhere} forwards, {where}; nothing was edited: open the block where the model runs, "
            "and give prompt_length where a forward holds more than the prompt"
        )

    def rewrite_query(self, call: Call) -> Tensor:
        query = call.query.transpose(1, 2)
        found = self._write(call.step, call.layer, query, call, lambda one: one.at_query)
        return call.query if found is query else found.transpose(1, 2)

    def rewrite_output(self, call: Call, output: Float[Tensor, "batch queries heads dim"]) -> Tensor:
        return self._write(call.step, call.layer, output, call, lambda one: self._is_here(one, "attention"))

    @contextmanager
    def at_o_proj(self) -> Iterator[None]:
        """Writes there too, while the block is open, if edits are due there."""
        layers = {head.layer for one in self.edits if self._is_here(one, "o_proj") for head in one.heads}
        with at_projection(self.decoder, self.architecture, layers, self._write_at_o_proj, before=True):
            yield

    def _write_at_o_proj(self, step: Step, layer: int, heads: Tensor) -> Tensor:
        if self not in step.memo:
            return heads  # another thread's forward
        return self._write(step, layer, heads, None, lambda one: self._is_here(one, "o_proj"))

    def _is_here(self, one: Edit, site: Site) -> bool:
        return not one.at_query and site == ("attention" if one.needs_call else self.site)

    def _write(
        self, step: Step, layer: int, output: Tensor, call: Call | None, wanted: Callable[[Edit], bool]
    ) -> Tensor:
        """Computes what is due from `output` [batch, query, head, dim] as it came, then writes it."""
        targets = self._targets(step, layer, output, call, wanted)
        values = [one.compute(target) for one, target in targets]
        if not targets:
            return output
        if targets[0][0].at_query or (torch.is_grad_enabled() and output.requires_grad):
            output = output.clone()  # queries may be views of more; autograd needs outputs as they were
        for (_, target), value in zip(targets, values, strict=True):
            target.write(output, value)
        self.writes += 1
        return output

    def _targets(
        self, step: Step, layer: int, output: Tensor, call: Call | None, wanted: Callable[[Edit], bool]
    ) -> list[tuple[Edit, Target]]:
        """The edits that are due in a layer of a forward, and what each of them writes."""
        places = step.memo[self]
        pairs = [found for found in self._pairs_of(layer, step, output.device) if places and wanted(found[0])]
        return [
            (one, Target(layer, output, rows, heads, where, numbers, call))
            for one, rows, heads, numbers in pairs
            for where in places
        ]

    def _pairs_of(self, layer: int, step: Step, device: torch.device) -> list[tuple[Edit, Tensor, Tensor, list[int]]]:
        """Per edit of a layer the batch rows and heads to write, pair by pair; stateless edits of a kind as one."""
        key = (layer, step.batch, step.rows_each, device)
        if key not in self._pairs:
            found: dict[Any, tuple[Edit, list[int], list[int]]] = {}
            for one in self.edits:
                heads = [head.head for head in one.heads if head.layer == layer]
                for row in self._rows_of(one, step) if heads else ():
                    _, rows, columns = found.setdefault(type(one) if one.stateless else one, (one, [], []))
                    rows += [row] * len(heads)
                    columns += heads
            self._pairs[key] = [
                (one, torch.tensor(rows, device=device), torch.tensor(columns, device=device), columns)
                for one, rows, columns in found.values()
            ]
        return self._pairs[key]

    def _rows_of(self, one: Edit, step: Step) -> list[int]:
        """The rows of a forward that an edit of some prompts writes."""
        prompts, each = step.batch // step.rows_each, step.rows_each
        if each > 1 and isinstance(one, Patch) and not isinstance(one.donor, Recording):
            raise ProbeError(f"{one}: expected one row for each prompt, found {each}: a donor row cannot follow beams")
        wanted = one.recipients(prompts)
        if outside := [row for row in wanted if not 0 <= row < prompts]:
            raise ProbeError(f"{one}: expected batch rows 0 to {prompts - 1}, found {outside[0]}")
        return [row * each + place for row in wanted for place in range(each)]


def _share(some: tuple[int, ...] | None, others: tuple[int, ...] | None) -> bool:
    return some is None or others is None or bool(set(some) & set(others))
