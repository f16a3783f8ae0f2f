"""Copy all runs of a project from one database to another, which gives them numbers of its own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.store.connection import Connection, scope_of

_PARTS = ("batch", "excluded_batch", "recovered_batch", "outcome_count")
"""The tables whose rows belong to a run by its number in the column `run`."""


def list_table_columns(sqlite: Connection, table: str) -> list[str]:
    """Return the columns of a table but its own number; PostgreSQL has the same, and the project."""
    found = sqlite.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return [name for (name,) in found if name != "number"]


class RunCopier:
    """Copies the runs of one database to another, inside the caller's transaction on the latter.

    `sqlite` is the one of both that tells the columns.
    """

    def __init__(self, source: Connection, target: Connection, sqlite: Connection) -> None:
        self._source, self._target, self._sqlite = source, target, sqlite
        self._columns = {table: list_table_columns(sqlite, table) for table in (*_PARTS, "run", "event", "told")}

    def copy(self) -> int:
        """Copy all runs with what belongs to them, and the events of the project; return the number of runs."""
        runs = self._copy_numbered("run", {})
        for old, new in runs.items():
            for table in _PARTS:
                self._insert(table, [{**row, "run": new} for row in self._read_of(table, "run", old)])
        for old, new in self._copy_numbered("event", runs).items():
            self._insert("told", [{**row, "event": new} for row in self._read_of("told", "event", old)])
        return len(runs)

    def _copy_numbered(self, table: str, runs: Mapping[int, int]) -> dict[int, int]:
        """Copy a table whose rows have numbers; return the new number of each."""
        numbers = {}
        scope = scope_of(self._source)
        where = "".join(f" WHERE {name} = ?" for name in scope)
        for number, row in self._read(table, f"{where} ORDER BY number", tuple(scope.values())):
            if row.get("run") is not None:
                row["run"] = runs[row["run"]]
            self._insert(table, [row | scope_of(self._target)])
            query = f"SELECT number FROM {table} WHERE id = ?"
            (numbers[number],) = self._target.execute(query, (row["id"],)).fetchone()
        return numbers

    def _read(self, table: str, rest: str, values: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        names = self._columns[table]
        query = f"SELECT number, {', '.join(names)} FROM {table}{rest}"
        for number, *row in self._source.execute(query, values).fetchall():
            yield number, dict(zip(names, row, strict=True))

    def _read_of(self, table: str, owner: str, number: int) -> list[dict[str, Any]]:
        names = self._columns[table]
        query = f"SELECT {', '.join(names)} FROM {table} WHERE {owner} = ?"
        return [dict(zip(names, row, strict=True)) for row in self._source.execute(query, (number,))]

    def _insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        marks = ", ".join("?" * len(rows[0]))
        statement = f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({marks})"
        self._target.executemany(statement, [tuple(_to_values(row)) for row in rows])


def _to_values(row: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of a row. SQLite has no truth values: it has numbers, and takes either."""
    for name, value in row.items():
        yield bool(value) if name.startswith("is_") else value
