"""Documents of a stream with what they cost, read about as far as they are needed, and the choice of a last few."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from haymaker.data.fit import Amount
from haymaker.data.fit.costs import Costs
from haymaker.drafts import Document
from haymaker.errors import LengthError

Documents = Callable[[], Iterator[Document]]
LEAST_AHEAD = 8  # documents of the stream to choose the last ones from, where closers alone do not fill a row


class Stream:
    """Documents of a stream with their costs. What was read stays, so that a row can be planned again."""

    def __init__(self, documents: Iterator[Document], costs: Costs) -> None:
        self.source, self.counts = documents, costs
        self.seen: list[Document] = []
        self.costs: list[Amount] = []
        self.at = 0
        self.used: frozenset[int] = frozenset()  # of those ahead, the ones that an inner row holds

    def read(self, stop: int) -> int:
        """Have the documents before `stop` ready where the stream has them; how many there are."""
        missing = stop - len(self.seen)
        if missing > 0:
            batch = list(islice(self.source, missing))  # zip would take one more and drop it
            self.seen += batch
            self.costs += self.counts.of(batch)
            if self.costs:
                self.counts.usual = int(sum(self.costs) / len(self.costs))
        return len(self.seen)

    def next(self, room: Amount) -> tuple[Document, Amount]:
        """The next document and its tokens; `room` says about how many more will be asked for."""
        while self.at in self.used:
            self.at += 1
        if self.at >= len(self.seen):
            # A little less than all that seem to be missing, and few at first: what is read too much is lost. As many
            # at once as can be, since a tokenizer is up to twice as fast on many texts as on one at a time.
            mean = int(sum(self.costs) / len(self.costs)) if self.costs else self.counts.usual
            batch = min(256, int(15 * room / (16 * (mean + 1)))) if mean else 8
            if self.read(self.at + max(1, batch)) <= self.at:
                raise LengthError(
                    f"length: all {len(self.seen)} further documents leave {room:.0f} tokens unfilled; "
                    "give more rows, a pool of passages, or a smaller length"
                )
        self.at += 1
        return self.seen[self.at - 1], self.costs[self.at - 1]

    def back(self) -> None:
        self.at -= 1

    def ahead(self, count: int) -> list[int]:
        """Places of the next documents, without taking them."""
        found: list[int] = []
        at = self.at
        while len(found) < count and at < self.read(at + count - len(found)):
            found += [at] * (at not in self.used)
            at += 1
        return found

    def take(self, count: int) -> list[Document]:
        found = self.ahead(count)
        self.at = found[-1] + 1 if found else self.at
        return [self.seen[at] for at in found]


class Supply:
    """Where a draft's further documents come from: a stream, and some to choose the last ones from."""

    def __init__(self, stream: Stream, closers: list[Document] | None = None, fine: Documents | None = None) -> None:
        self.stream, self.closers = stream, closers  # None: the last ones are what comes next in the stream
        self.fine, self.wide = fine, False  # what `widen` adds, and whether it did
        self.used: frozenset[str] = frozenset()  # keys of closers that a row holds
        self.places: list[int] = []  # of the choices given last, in the stream
        self.turn = 0  # which of the next in the stream is the first choice

    @property
    def state(self) -> tuple[int, frozenset[int], frozenset[str]]:
        """What a plan has used up, to plan again from here."""
        return self.stream.at, self.stream.used, self.used

    @state.setter
    def state(self, state: tuple[int, frozenset[int], frozenset[str]]) -> None:
        self.stream.at, self.stream.used, self.used = state

    def choices(self, count: int, taken: Iterable[Document]) -> list[Document]:
        """Documents to choose the last ones from: the closers, where enough are left of them, then the next."""
        held = self.used | {document.key for document in taken}
        free = [document for document in self.closers or () if document.key not in held]
        few = self.wide or not self.closers or 2 * len(free) < min(count, len(self.closers))
        places = self.stream.ahead(max(count - len(free), LEAST_AHEAD)) if few else []
        turn = self.turn % max(1, len(places))
        self.places = places[turn:] + places[:turn]
        return [*free, *(self.stream.seen[at] for at in self.places)]

    def add_fine(self) -> None:
        """Give the documents in finer sizes to choose from too."""
        if self.closers and self.fine:
            self.closers, self.fine = [*self.closers, *self.fine()], None

    def widen(self) -> None:
        """Give more to choose from, where a row could not be filled: those in finer sizes, and the stream's next."""
        self.add_fine()
        self.wide = True

    def use(self, choices: Sequence[Document], picked: Iterable[int]) -> None:
        """Give those picked of the choices to no longer row again."""
        closers = len(choices) - len(self.places)
        self.used |= {choices[i].key for i in picked if i < closers}
        self.stream.used |= {self.places[i - closers] for i in picked if i >= closers}


def reserve_of(sizes: Sequence[Amount]) -> Amount:
    """Room to leave for the last documents: for four of them, or for as many more as documents of much the same size
    need until their sums reach every length."""
    if not sizes:
        return 0
    ordered, mean, count = sorted(sizes), sum(sizes) / len(sizes), 4
    while 2 * count < len(sizes) and sum(ordered[-count:]) - sum(ordered[:count]) < mean:
        count += 1
    return min(count * sum(sizes) // len(sizes), sum(sizes) // 2)


def closest_sum(costs: Sequence[int], room: int) -> list[int]:
    """Indices of costs whose sum comes closest to `room` from below, earlier ones first (subset sum over bit sets)."""
    if room <= 0:
        return []
    mask = (1 << (room + 1)) - 1
    reach = [1]
    for cost in costs:
        reach.append((reach[-1] | reach[-1] << cost) & mask)
    total = reach[-1].bit_length() - 1
    picked = []
    for i in range(len(costs), 0, -1):
        if not reach[i - 1] >> total & 1:
            picked.append(i - 1)
            total -= costs[i - 1]
    return picked[::-1]


def exact_sum(costs: Sequence[int], wanted: Sequence[int]) -> list[int] | None:
    """Indices of costs of which, for some number of them n, the sum is wanted[n]; the fewest; None if there are none.

    Subset sums over bit sets, one for each number of documents.
    """
    mask = (1 << (max(0, *wanted) + 1)) - 1
    steps = [[1] + [0] * (len(wanted) - 1)]
    for cost in costs:
        last = steps[-1]
        steps.append([last[0], *((last[n] | last[n - 1] << cost) & mask for n in range(1, len(wanted)))])
    number = next((n for n, total in enumerate(wanted) if total >= 0 and steps[-1][n] >> total & 1), None)
    if number is None:
        return None
    total, picked = wanted[number], []
    for i in range(len(costs), 0, -1):
        if not steps[i - 1][number] >> total & 1:
            picked.append(i - 1)
            total, number = total - costs[i - 1], number - 1
    return picked[::-1]
