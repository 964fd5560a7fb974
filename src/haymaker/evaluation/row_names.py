"""A row by any of its names: its example's id, or the id that it has in its own file."""

from collections.abc import Iterable

from haymaker.records import Example
from haymaker.tasks.own_columns import own_name


class RowNames:
    """Rows by their names. An own id that several rows have names none of them."""

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        """`names`: of every row the example's id and its own, which may be empty."""
        told = list(names)
        self.own = dict(told)  # example's id -> its row's own
        self.ids = [name for name, _ in told]
        self._known = {name: [name] for name in self.ids}
        for name, own in told:
            if own and own not in self.own:
                self._known.setdefault(own, []).append(name)

    @classmethod
    def of(cls, rows: Iterable[Example]) -> "RowNames":
        return cls((row.id, own_name(row.source)) for row in rows)

    def id_of(self, name: str) -> str | None:
        """The example's id of the one row that is called so."""
        found = self._known.get(name, ())
        return found[0] if len(found) == 1 else None

    def shared(self, name: str) -> bool:
        """Whether several rows are called so."""
        return len(self._known.get(name, ())) > 1

    def shown(self, name: str) -> str:
        """Where own ids are spoken, what to call the row of an example's id: its own, if it is no other's."""
        own = self.own[name]
        return own if own and self.id_of(own) == name else name
