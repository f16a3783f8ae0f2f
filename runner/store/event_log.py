"""Events that receivers are told of: recorded with what they say, and pending until each receiver has them."""

import time
from collections.abc import Collection
from dataclasses import dataclass, fields

from runner.store.connection import Connection, scope_of
from runner.store.records import Run


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of a run, or of a spec whose run could not begin.

    - `id`: the same whenever it is sent, so that a receiver can tell repetitions.
    - `mark`: tells events of one name apart.
    - `body`: what receivers get, as JSON. It holds no secrets.
    """

    number: int
    id: str
    name: str
    mark: str
    happened_at: float
    body: str


_COLUMNS = ", ".join(field.name for field in fields(StoredEvent))


class EventLog:
    """The events of a project that receivers are told of."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._scope = scope_of(connection)
        self._is_ours = "".join(f" AND {name} = ?" for name in self._scope)

    def has_event(self, spec: str, run: Run | None, name: str, mark: str, *, since: float = 0.0) -> bool:
        """Return whether an event of this name and mark was recorded, at the time `since` or later."""
        query = "SELECT 1 FROM event WHERE spec = ? AND coalesce(run, 0) = ? AND name = ? AND mark = ?"
        values = (spec, 0 if run is None else run.number, name, mark, since, *self._scope.values())
        query += f" AND happened_at >= ?{self._is_ours}"
        return self._db.execute(query, values).fetchone() is not None

    def add(self, spec: str, run: Run | None, name: str, mark: str, *, id: str, body: str) -> None:
        """Record an event that receivers are to be told of."""
        number = None if run is None else run.number
        values = (id, spec, number, name, mark, time.time(), body, *self._scope.values())
        columns = ", ".join(["id, spec, run, name, mark, happened_at, body", *self._scope])
        self._db.execute(f"INSERT INTO event ({columns}) VALUES ({', '.join('?' * len(values))})", values)

    def pending(self, spec: str) -> list[StoredEvent]:
        """Return the events of a spec that are not settled, oldest first."""
        query = (
            f"SELECT {_COLUMNS} FROM event WHERE spec = ?{self._is_ours} AND settled_at IS NULL ORDER BY number"
        )
        return [StoredEvent(*row) for row in self._db.execute(query, (spec, *self._scope.values()))]

    def list_told(self, event: StoredEvent) -> set[str]:
        """Return the receivers that have an event which is not settled."""
        return {one for (one,) in self._db.execute("SELECT receiver FROM told WHERE event = ?", (event.number,))}

    def note_told(self, event: StoredEvent, receiver: str) -> None:
        """Record that a receiver has an event."""
        self._db.execute("INSERT INTO told VALUES (?, ?) ON CONFLICT DO NOTHING", (event.number, receiver))

    def settle(self, event: StoredEvent, receivers: Collection[str]) -> bool:
        """Settle an event if all these receivers have it, and return whether they do."""
        if not self.list_told(event).issuperset(receivers):
            return False
        self._db.execute("UPDATE event SET settled_at = ? WHERE number = ?", (time.time(), event.number))
        self._db.execute("DELETE FROM told WHERE event = ?", (event.number,))
        return True

    def forget_settled(self, run: Run) -> None:
        """Delete the settled events of a run: a message can name a row."""
        self._db.execute("DELETE FROM event WHERE run = ? AND settled_at IS NOT NULL", (run.number,))
