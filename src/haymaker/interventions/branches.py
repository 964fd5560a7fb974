"""Branches: continuations of one prompt, each with edits of its own, that share the prompt's cache.

The rows of all branches are one packed sequence behind the prompt. A tree mask keeps them apart: a row sees the prompt
and the earlier rows of its own branch, as the model's own mask (causal, windowed, chunked) would let it at its true
position. So many heads or head sets cost one prefill and a few rows each, and the keys of the prompt are there once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from haymaker.attention.calls import Call, Sees, Step
from haymaker.attention.canary import Architecture, check_architecture
from haymaker.attention.edits import Edit, Editing, Scope, Zero, edit
from haymaker.attention.hook import OVERRIDE, apart, attach, backend_of, decoder_of
from haymaker.attention.targets import Target, Where
from haymaker.errors import ConfigError, ProbeError
from haymaker.models.memory import PACKED_ROWS, ran_out
from haymaker.models.products import fast_products

TREE_BACKENDS = ("sdpa", "eager")  # they take a mask of any form
SCOPE_PARTS = {"last", "decode"}  # rows whose edits leave the keys of the prompt before them as they are
SAMPLE = 9  # tokens of the prompt and answer on which branches are checked, once for each model
Branch = Sequence[Edit]

_BRANCHES: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


class Tree:
    """Whose rows stand behind a prompt's: the branch (-1 for the prompt) and the true position of every slot.

    places: for the rows added last, (branch, their place in the forward, position of the first).
    """

    def __init__(self, prefix: int, device: torch.device) -> None:
        self.prefix = prefix
        self.position = torch.arange(prefix, device=device)
        self.branch = torch.full_like(self.position, -1)
        self.places: list[tuple[int, slice, int]] = []
        self.next = prefix  # position of the rows that are added next

    def grow(self, branches: Sequence[int], count: int) -> Int64[Tensor, "1 rows"]:
        """Add the next `count` rows to each branch; the positions of all rows added."""
        device = self.position.device
        positions = torch.arange(self.next, self.next + count, device=device).repeat(len(branches))
        self.places = [(b, slice(i * count, (i + 1) * count), self.next) for i, b in enumerate(branches)]
        self.next += count
        self.position = torch.cat([self.position, positions])
        owners = torch.tensor(list(branches), device=device).repeat_interleave(count)
        self.branch = torch.cat([self.branch, owners])
        return positions[None]

    def prune(self) -> int:
        """Remove all branches; how many rows they had."""
        rows = len(self.branch) - self.prefix
        self.next = self.prefix
        self.position, self.branch = self.position[: self.prefix], self.branch[: self.prefix]
        return rows

    def sees(self, sees: Sees) -> Sees:
        """The model's own rule at true positions, within a branch and its prompt."""
        position, branch = self.position, self.branch

        def in_tree(batch: Any, head: Any, query: Any, key: Any) -> Any:
            allowed = (branch[key] < 0) | (branch[key] == branch[query])
            return allowed & sees(batch, head, position[query], position[key])

        return in_tree


class TrunkLayer(DynamicLayer):
    """Keys and values of a layer in one buffer with room for branches, so that the prompt's are never copied."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots, self.used = slots, 0
        self.buffers: list[Tensor] = []

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.buffers:
            self.buffers = [
                new.new_empty(*new.shape[:2], self.slots, new.shape[3]) for new in (key_states, value_states)
            ]
            self.lazy_initialization(key_states, value_states)
        start, self.used = self.used, self.used + key_states.shape[2]
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self.used] = new
        return self._show()

    def crop(self, tokens_to_remove: int) -> None:
        self.used -= abs(tokens_to_remove)
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[:, :, : self.used] for buffer in self.buffers)
        self.keys, self.values = keys, values
        return keys, values


class Trunk:
    """A model with one prompt computed, from which branches grow.

    The trunk holds all but the last prompt token; a branch's first row is that token, so scopes mean: "last", the row
    that predicts the first answer token; "decode", the rows after it. `rows_at_once` bounds the packed rows of a
    forward. Raises ProbeError for models with layers that keep no keys (linear attention).
    """

    def __init__(self, model: Any, prompt: Sequence[int], rows_at_once: int = PACKED_ROWS) -> None:
        self.model, self.decoder = model, decoder_of(model)
        self.architecture = check_architecture(model)
        self.layers = layers = int(self.decoder.config.num_hidden_layers)
        if missing := layers_without_keys(self.decoder, self.architecture):
            raise ProbeError(
                f"{self.architecture.name}: layers {missing} have no attention cache that branches could share; "
                "ask for scope='all', which runs every edit alone"
            )
        self.rows_at_once, self.last = rows_at_once, prompt[-1]
        self.device = next(model.parameters()).device
        self.tree = Tree(len(prompt) - 1, self.device)
        self.cache = Cache(layers=[TrunkLayer(self.tree.prefix + rows_at_once) for _ in range(layers)])
        if self.tree.prefix:
            self._run(torch.tensor([list(prompt[:-1])], device=self.device), self.tree.position[None], keep=1)

    def last_tokens(self, count: int) -> Int64[Tensor, "count 1"]:
        """The prompt's last token, which every branch reads first, for each of several branches."""
        return torch.full((count, 1), self.last, device=self.device)

    def log_probabilities(
        self, branches: Sequence[Branch], answer: Sequence[int], scope: str = "last+decode"
    ) -> Float[Tensor, "branch token"]:
        """log p of every token of `answer` (nats), teacher-forced, in each branch."""
        each = max(1, self.rows_at_once // len(answer))
        if len(answer) > self.rows_at_once:
            raise ConfigError(f"rows_at_once: {self.rows_at_once} rows cannot hold an answer of {len(answer)} tokens")
        found = []
        for start in range(0, len(branches), each):
            some = branches[start : start + each]
            logits = self.forced(some, [self.last, *answer[:-1]], scope)
            targets = torch.tensor(list(answer), device=self.device).expand(len(some), -1)
            chosen = logits.gather(-1, targets[..., None])[..., 0].float()
            found.append(chosen - logits.float().logsumexp(-1))
        return torch.cat(found)

    def forced(
        self, branches: Sequence[Branch], tokens: Sequence[int], scope: str
    ) -> Float[Tensor, "branch token vocabulary"]:
        """Logits of every branch over the same tokens, the prompt's last one first; the branches are gone after it."""
        with self.growing(branches, scope) as step:
            ids = torch.tensor(list(tokens), device=self.device).expand(len(branches), -1)
            return step(range(len(branches)), ids)

    @contextmanager
    def growing(
        self, branches: Sequence[Branch], scope: str, donor: Literal["positions", "slots"] = "positions"
    ) -> Iterator[Callable[..., Tensor]]:
        """Yields step(which branches, tokens [branch, count]) -> logits [branch, count, vocabulary].

        All branches start together; those left out of a step are over. Only a running step touches the model, so the
        trunks of a donor and a recipient may grow in turns, even of one model. `donor`: whether edits find what a
        donor wrote by true positions (it ran on one sequence) or by slots (it grew the same branches).
        """
        if not is_late(scope):
            raise ConfigError(f"scope: branches know last, decode and last+decode, found {scope!r}")
        editing = BranchEditing(self.decoder, self.architecture, branches, self.tree, scope=scope, donor=donor)

        def step(which: Sequence[int], tokens: Tensor) -> Tensor:
            positions = self.tree.grow(which, tokens.shape[1])
            given = OVERRIDE.set(tree_backend(self.decoder))
            try:
                with attach(editing), editing.at_o_proj():
                    return self._run(tokens.reshape(1, -1), positions, keep=0).view(*tokens.shape, -1)
            finally:
                OVERRIDE.reset(given)

        try:
            yield step
        finally:
            self.cache.crop(-self.tree.prune())

    @torch.no_grad()
    def _run(self, ids: Tensor, positions: Tensor, keep: int) -> Tensor:
        with fast_products(ids.numel()):
            return self.model(
                input_ids=ids, position_ids=positions, past_key_values=self.cache, use_cache=True, logits_to_keep=keep
            ).logits


def is_late(scope: str) -> bool:
    """Whether a scope touches nothing of a prompt before its last token."""
    return set(scope.split("+")) <= SCOPE_PARTS


def can_branch(model: Any, scope: str) -> bool:
    """Whether edits of a model in this scope may share one prefill as branches."""
    if not is_late(scope) or layers_without_keys(decoder_of(model), check_architecture(model)):
        return False
    decoder = decoder_of(model)
    if decoder not in _BRANCHES:
        found = not scales_by_slot(decoder) and branches_are_right(model)
        if found is None:  # not known; the work itself says which example memory ran out at
            return True
        _BRANCHES[decoder] = found
    return _BRANCHES[decoder]


def scales_by_slot(decoder: PreTrainedModel) -> bool:
    """Whether attention is scaled by a query's slot (Llama 4, Ministral 3), which in a branch is not its position."""
    config: Any = decoder.config
    return bool(
        getattr(config, "attn_temperature_tuning", False)
        or getattr(config, "log_scaling_n_floor", None)
        or "llama_4_scaling_beta" in (getattr(config, "rope_parameters", None) or {})
    )


def branches_are_right(model: Any) -> bool | None:
    """Whether two branches of a few tokens give what forwards of their own give: with a cache of its own kind, or masks
    made before the decoder runs, they do not. None where memory ran out."""
    ids = (torch.arange(SAMPLE) * 7 + 3) % decoder_of(model).config.vocab_size
    prompt, answer = ids[:-3].tolist(), ids[-3:].tolist()
    edits: list[Branch] = [[], [Zero([check_architecture(model).heads[0]])]]
    training = model.training
    model.eval()
    try:
        with apart():
            found = Trunk(model, prompt, len(edits) * SAMPLE).log_probabilities(edits, answer)
            expected = torch.stack([alone(model, ids, len(prompt), some) for some in edits])
    except Exception as error:  # whatever its cache or its masks make of branches: then each edit runs alone
        return None if ran_out(error) else False
    finally:
        model.train(training)
    exact = torch.finfo(decoder_of(model).dtype).eps < 1e-6
    return bool((found - expected).abs().max() <= (1e-3 if exact else 0.1) * expected.abs().max().clamp(min=1))


@torch.no_grad()
def alone(model: Any, ids: Int64[Tensor, " token"], prompt: int, edits: Branch) -> Float[Tensor, " answer"]:
    """log p of each token after the prompt, in a forward of its own."""
    ids = ids[None].to(next(model.parameters()).device)
    with edit(model, *edits, scope="last+decode", prompt_length=prompt):
        logits = model(input_ids=ids, use_cache=False).logits[0, prompt - 1 : -1]
    return logits.float().log_softmax(-1).gather(-1, ids[0, prompt:, None])[:, 0]


def layers_without_keys(decoder: PreTrainedModel, architecture: Architecture) -> list[int]:
    """Layers (of linear attention) that have no cache of keys for branches to share."""
    return sorted(set(range(int(decoder.config.num_hidden_layers))) - set(architecture.layers))


def tree_backend(decoder: PreTrainedModel) -> str:
    """The model's own backend where it takes a mask of any form, else one that does."""
    backend = backend_of(decoder)
    if backend in TREE_BACKENDS:
        return backend
    config: Any = decoder.config
    plain = getattr(config, "attn_logit_softcapping", None) is None and getattr(decoder, "_supports_sdpa", False)
    return "sdpa" if plain else "eager"


class BranchEditing(Editing):
    """Edits of each branch on its own rows of the packed sequence, and the tree mask."""

    def __init__(
        self,
        decoder: PreTrainedModel,
        architecture: Architecture,
        branches: Sequence[Branch],
        tree: Tree,
        *,
        scope: str,
        donor: Literal["positions", "slots"],
    ) -> None:
        self.tree, self.parts, self.donor = tree, scope.split("+"), donor
        self.branches = branches
        super().__init__(decoder, architecture, [one for edits in branches for one in edits], Scope(("all",)), None)
        self.by_layer: dict[int, list[tuple[int, Edit, list[int]]]] = {}
        for branch, edits in enumerate(branches):
            for one in edits:
                for layer in {head.layer for head in one.heads}:
                    numbers = [head.head for head in one.heads if head.layer == layer]
                    self.by_layer.setdefault(layer, []).append((branch, one, numbers))

    def _check_conflicts(self) -> None:
        for edits in self.branches:
            heads = [head for one in edits for head in one.heads]
            if twice := next((head for head in heads if heads.count(head) > 1), None):
                raise ProbeError(f"{twice}: two edits of one branch would write the same positions; keep one of them")

    def begin(self, step: Step) -> None:
        step.memo[self] = {branch: (place, position) for branch, place, position in self.tree.places}

    def rewrite_mask(self, sees: Sees) -> Sees:
        return self.tree.sees(sees)

    def _targets(
        self, step: Step, layer: int, output: Tensor, call: Call | None, wanted: Callable[[Edit], bool]
    ) -> list[tuple[Edit, Target]]:
        found = []
        for branch, one, numbers in self.by_layer.get(layer, ()):
            where = self._where(step, branch, one) if wanted(one) else None
            if where is not None:
                heads = torch.tensor(numbers, device=output.device)
                rows = torch.zeros_like(heads)
                found.append((one, Target(layer, output, rows, heads, where, numbers, call)))
        return found

    def _where(self, step: Step, branch: int, one: Edit) -> Where | None:
        """The branch's rows in scope, named as the edit knows them: those that read the call know slots."""
        place, position = step.memo[self].get(branch, (slice(0, 0), 0))
        last = self.tree.prefix
        start = place.start + (0 if "last" in self.parts else max(0, last + 1 - position))
        stop = place.stop if "decode" in self.parts else min(place.stop, place.start + max(0, last + 1 - position))
        if start >= stop:
            return None
        by_slots = one.needs_call or self.donor == "slots"
        return Where(step.first if by_slots else position - place.start, slice(start, stop))
