"""Values of PostgreSQL that Python cannot hold: kept as text, so that their row and column can be named."""

from dataclasses import dataclass
from typing import Any

_DATES = ("date", "timestamp", "timestamptz", "time", "timetz")


@dataclass(frozen=True, slots=True)
class UnreadableDate:
    """A date or time that Python cannot hold, as the database writes it."""

    text: str


def keep_unreadable_values(connection: Any) -> None:
    """Let a connection of psycopg return UnreadableDate for such dates, and intervals of months as text.

    A month has no fixed length, for which psycopg takes 30 days.
    """
    from psycopg import DataError
    from psycopg.adapt import Loader

    def replace_loader(name: str) -> None:
        known: Any = connection.adapters.get_loader(connection.adapters.types[name].oid, 0)

        class Kept(Loader):
            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._load = known(oid, context).load

            def load(self, data: Any) -> Any:
                text = bytes(data).decode()
                if name == "interval" and ("mon" in text or "year" in text):
                    return text
                try:
                    return self._load(data)
                except DataError:
                    return text if name == "interval" else UnreadableDate(text)

        connection.adapters.register_loader(name, Kept)

    for name in (*_DATES, "interval"):
        replace_loader(name)
