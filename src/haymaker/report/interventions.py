"""Findings about interventions: what masking heads costs, and what patching them from another model gives. Pure."""

from dataclasses import dataclass
from math import isnan

from haymaker.charts.numbers import bounds, in_words, metric_label, two_decimals
from haymaker.report.tables import SYNTHETIC, Row, Tables, in_order, select, with_number
from haymaker.report.wording import RULE, Finding, decide, from_to, listed, questions, why_not
from haymaker.stats import Interval, Number, known

LARGEST_HARM = 0.1  # share of the score that random heads may cost and still count as harmless
MOST = 0.75  # share of recipients that patching must help; the paper saw about three quarters


@dataclass(frozen=True)
class Masking:
    """One setting's score with no head masked, with its top k retrieval heads, and with k random ones."""

    setting: str
    k: int
    total: int
    n: int
    none: Interval
    retrieval: Interval
    random: tuple[Number, ...]
    doubt: str  # why nothing can be judged; empty where something can
    metric: str


def masking(tables: Tables) -> Masking | None:
    """The masking that findings judge: of real (else the best setting), at the k nearest to a tenth of all heads."""
    rows = with_number(tables["ablation"], "score")
    none = {row["setting"]: row for row in select(rows, heads="none")}
    usable = [row for row in select(rows, heads="retrieval") if row["setting"] in none]
    if not usable:
        return None
    settings = {row["setting"] for row in usable}
    setting = "real" if "real" in settings else max(sorted(settings), key=lambda name: none[name]["score"])
    total = len({(row["layer"], row["head"]) for row in tables["heads"]})
    chosen = min(select(usable, setting=setting), key=lambda row: (abs(row["k"] - total / 10), row["k"]))
    random = tuple(row["score"] for row in select(rows, setting=setting, heads="random", k=chosen["k"]))
    unmasked, masked = Interval.of(none[setting]), Interval.of(chosen)
    assert unmasked is not None
    assert masked is not None
    doubt = why_not([none[setting]]) or why_not([chosen], zeros=False)
    label = metric_label([chosen])
    return Masking(setting, chosen["k"], total, chosen["n"], unmasked, masked, random, doubt, label)


def of_heads(found: Masking) -> str:
    return f"{found.k} of {found.total} heads" if found.total else f"{found.k} heads"


def masking_retrieval_hurts(tables: Tables) -> Finding:
    pattern = "Masking the retrieval heads hurts"
    rule = f"Shows if the interval of the loss lies above 0; does not show if none of it does. {RULE}"
    found = masking(tables)
    if found is None:
        return Finding(pattern, "cannot be told", "No setting has rows both with and without masked heads.", rule)
    loss = found.none.minus(found.retrieval)
    share = f", {two_decimals(loss.mean / found.none.mean)} of it" if found.none.mean > 0 else ""
    sentence = (
        f"Without its top {of_heads(found)}, {found.setting} falls from {found.metric} {in_words(found.none)} to "
        f"{in_words(found.retrieval)}: a loss of {two_decimals(loss.mean)} {bounds(loss)}{share} "
        f"(n = {found.n} questions)."
    )
    if loss.mean <= 0:
        sentence = sentence.replace(" falls ", " goes ").replace("a loss", "no loss, a difference", 1)
    if found.doubt:
        return Finding(pattern, "cannot be told", sentence + found.doubt, rule)
    return Finding(pattern, decide(loss.low > 0, loss.high <= 0), sentence, rule)


def masking_random_does_not(tables: Tables) -> Finding:
    pattern = "Masking as many random heads does not"
    rule = (
        f"Shows if random heads cost at most {LARGEST_HARM} of the score on average over the draws, and less than "
        f"the retrieval heads do; cannot be told if the unmasked score is not above 0.05. {RULE}"
    )
    found = masking(tables)
    if found is None or not found.random:
        return Finding(pattern, "cannot be told", "There are no rows with random heads masked.", rule)
    mean = sum(found.random) / len(found.random)
    loss = found.none.mean - mean
    sentence = (
        f"Without {of_heads(found)} drawn at random, {found.setting} has {found.metric} {two_decimals(mean)} on "
        f"average ({from_to(list(found.random))} over {len(found.random)} draws, n = {found.n} questions each), "
        f"against {two_decimals(found.none.mean)} with all heads and {two_decimals(found.retrieval.mean)} without the "
        "retrieval heads."
    )
    if found.doubt:
        return Finding(pattern, "cannot be told", sentence + found.doubt, rule)
    if found.none.mean <= 0.05:
        return Finding(pattern, "cannot be told", f"{sentence} There was next to nothing to lose.", rule)
    harmless = loss <= LARGEST_HARM * found.none.mean and mean > found.retrieval.mean
    return Finding(pattern, decide(harmless, not harmless), sentence, rule)


@dataclass(frozen=True)
class Gain:
    """What patching one head set into one recipient changed, and what as many random heads did on average."""

    setting: str
    change: Interval
    random: Number | None
    n: int

    @property
    def helps(self) -> bool:
        return self.change.low > 0 and (self.random is None or self.change.mean > self.random)


def change_of(row: Row, patching: list[Row]) -> Interval | None:
    """The score with patched heads minus that without.

    The interval is the row's own (delta_low, delta_high, of paired questions) where it has one, else that of two
    independent runs where the recipient has a row without patched heads, else unknown.
    """
    if is_paired(row):
        return Interval.of(row, "delta")
    patched, original = Interval.of(row), known(row["score_original"])
    if patched is None or isnan(original):
        return None
    plain = select(patching, setting=row["setting"], donor=row["donor"], heads="none")
    before = Interval.of(plain[0]) if plain else None
    return patched.minus(before if before is not None else Interval(original))


def is_paired(row: Row) -> bool:
    return row.get("delta_low") is not None and row.get("delta_high") is not None


def gains(patching: list[Row], heads: str = "intersection") -> list[Gain]:
    """One per synthetic recipient that has the head set, at its largest k."""
    found = []
    for setting in in_order(row["setting"] for row in select(patching, heads=heads, setting=SYNTHETIC)):
        row = max(select(patching, heads=heads, setting=setting), key=lambda row: row["k"])
        draws = with_number(select(patching, heads="random", setting=setting, k=row["k"]), "delta")
        random = [draw["delta"] for draw in draws]
        change = change_of(row, patching)
        if change is not None:
            found.append(Gain(setting, change, sum(random) / len(random) if random else None, row["n"]))
    return found


def intersection_helps(tables: Tables) -> Finding:
    pattern = "Patching the shared retrieval heads from real into a synthetic model helps"
    rule = (
        f"A recipient is helped if the interval of its gain lies above 0 and random heads give less. Shows if at least "
        f"{MOST} of the recipients are helped; does not show if for more than half no part of it lies above 0. {RULE}"
    )
    found = gains(tables["patching"])
    if not found:
        return Finding(pattern, "cannot be told", "There are no rows with shared heads patched.", rule)
    helped, lost = [gain for gain in found if gain.helps], [gain for gain in found if gain.change.high <= 0]
    changes = "; ".join(f"{gain.setting} {in_words(gain.change, '+')}" for gain in found)
    random = [gain.random for gain in found if gain.random is not None]
    control = f"As many random heads change it by {from_to(random, '+')}." if random else "There is no random control."
    sentence = (
        f"It helps {len(helped)} of {len(found)} recipients. Change of {metric_label(tables['patching'])}: {changes} "
        f"({questions(select(tables['patching'], heads='intersection', setting=SYNTHETIC))} each). {control}"
    )
    rows = [row for row in tables["patching"] if row["setting"] in {gain.setting for gain in found}]
    if doubt := why_not(rows):
        return Finding(pattern, "cannot be told", sentence + doubt, rule)
    shows = len(helped) >= MOST * len(found)
    return Finding(pattern, decide(shows, len(lost) > len(found) / 2), sentence, rule)


def identity_changes_nothing(tables: Tables) -> Finding:
    pattern = "Patching a model’s own heads into itself changes nothing"
    rule = "Shows if the score stays the same to the last digit; does not show otherwise: no patch can be trusted then."
    rows = with_number(select(tables["patching"], heads="identity"), "delta")
    if not rows:
        return Finding(pattern, "cannot be told", "There is no row of the identity check.", rule)
    largest = max(abs(row["delta"]) for row in rows)
    names = listed(in_order(row["setting"] for row in rows))
    amount = "0, exactly" if largest == 0 else f"{largest:.2g} at most"
    sentence = f"Change of {metric_label(rows)} for {names} patched from itself: {amount} ({questions(rows)})."
    if largest == 0 and not any(known(row["score"]) > 0 for row in rows):
        return Finding(pattern, "cannot be told", f"{sentence} All scores are 0, so nothing could have changed.", rule)
    return Finding(pattern, decide(largest == 0, largest != 0), sentence, rule)
