"""Things that are chosen by name: a table for each kind, loaded when used, open to other packages by entry points."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from pkgutil import resolve_name
from typing import Any

from haymaker.errors import ConfigError, PluginError

PREFIX = "haymaker."  # of the groups of entry points


@dataclass(frozen=True)
class Entry:
    """One thing: where it loads from (`module` or `module:attribute`), what it is in one line, and who brings it."""

    place: str
    about: str
    package: str = "haymaker"
    version: str = ""

    def __str__(self) -> str:
        return f"{self.package} ({self.place})"


class Registry:
    """All things of one kind by name: Haymaker's own in their order, then those of other packages by the alphabet.

    `registry[name]` loads one, `list(registry)` names all and loads none. Other packages add to it by entry points of
    the group `haymaker.<kind>s`. A name that two bring, and one that does not load, is an error when it is asked for;
    the others stay as they are.
    """

    def __init__(
        self,
        kind: str,
        own: Mapping[str, tuple[str, str]],
        needs: Sequence[str] = ("__call__",),
        border: Callable[[Any, str], Any] | None = None,
    ) -> None:
        """own: name -> (place, what it is in one line). needs: attributes without which a thing is not of the kind.
        border: gives what is used in the place of another package's thing, of it and of where it comes from."""
        self.kind, self.needs, self.group, self.border = kind, tuple(needs), f"{PREFIX}{kind}s", border
        self.own = {name: Entry(place, about) for name, (place, about) in own.items()}
        self._loaded: dict[Entry, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.own, *(name for group, name, _ in installed() if group == self.group))))

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)

    def __getitem__(self, name: str) -> Any:
        """The thing of that name. Raises ConfigError for an unknown name, PluginError for a plug-in that is broken."""
        entry = self.entry(name)
        if entry not in self._loaded:
            self._loaded[entry] = resolve_name(entry.place) if name in self.own else self.plug_in(name, entry)
        return self._loaded[entry]

    def entry(self, name: str) -> Entry:
        """What is known of a name, unloaded. Raises ConfigError where nobody brings it, PluginError where two do."""
        if not isinstance(name, str):
            raise ConfigError(
                f"a {self.kind} is chosen by name, found {name!r:.80}; a package of some lines gives your own one "
                f"(entry point {self.group}, docs/plug-ins.md)"
            )
        found = [entry for group, other, entry in installed() if (group, other) == (self.group, name)]
        found = [self.own[name], *found] if name in self.own else found
        if len(found) > 1:
            raise PluginError(
                f"{self.kind} {name!r}: expected one package to bring it, found {' and '.join(map(str, found))}; "
                "uninstall one of them, or rename its entry point"
            )
        if not found:
            raise ConfigError(f"no {self.kind} {name!r}; there are {', '.join(self)}")
        return found[0]

    def plug_in(self, name: str, entry: Entry) -> Any:
        """Load what another package brings; PluginError says which package and entry point, and what is wrong."""
        where = f"package {entry.package}, entry point {self.group}: {name} = {entry.place}"
        try:
            found = resolve_name(entry.place)
        except Exception as error:  # whatever another package's module does when it is imported
            raise PluginError(f"{where}: it does not load ({type(error).__name__}: {error})") from error
        missing = [need for need in self.needs if not hasattr(found, need)]
        if missing:
            raise PluginError(f"{where}: expected a {self.kind}, found {found!r:.80} without {', '.join(missing)}")
        return self.border(found, where) if self.border else found


@cache
def installed() -> tuple[tuple[str, str, Entry], ...]:
    """(group, name, entry) of all entry points in Haymaker's groups, by name; read once, nothing is loaded."""
    from importlib.metadata import entry_points

    every = entry_points()
    found = []
    for group in [group for group in every.groups if group.startswith(PREFIX)]:
        for point in every.select(group=group):
            package, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "")
            entry = Entry(point.value.replace(" ", ""), f"from {package} {version}".strip(), package, version)
            found.append((group, point.name, entry))
    return tuple(sorted(found, key=lambda one: (*one[:2], str(one[2]))))


def packages_of(module: str) -> tuple[str, ...]:
    """The packages, with their versions, that bring something of this module's top-level one."""
    top = module.partition(".")[0]
    found = (entry for _, _, entry in installed() if entry.place.split(":")[0].partition(".")[0] == top)
    return tuple(dict.fromkeys(f"{entry.package} {entry.version}".strip() for entry in found))


# ---- borders: what another package's thing must give, checked where it is used


def scores_of_share(metric: Callable[..., Any], where: str) -> Callable[..., float]:
    """The metric, its scores as Python's numbers of 0 to 1. Raises PluginError where it gives another thing."""

    @wraps(metric)
    def checked(prediction: str, golds: Sequence[str]) -> float:
        score = metric(prediction, golds)
        score = score.item() if hasattr(score, "item") else score  # numpy's, torch's
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise PluginError(
                f"{where}: expected a score of 0 to 1, found {score!r:.80} for the answer {prediction!r:.80}"
            )
        return float(score)

    return checked


def judged_by_names(task: Any, where: str) -> Any:
    """The task. Raises PluginError where its METRICS are no list of names."""
    names = task.METRICS
    if not isinstance(names, tuple | list) or not names or not all(isinstance(name, str) for name in names):
        raise PluginError(
            f'{where}: expected METRICS as names, the headline first, as ("squad_f1",), found {names!r:.80}'
        )
    return task
