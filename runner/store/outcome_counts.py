"""The number of rows of each run per outcome, so that nobody counts the rows to show them."""

from collections.abc import Mapping

import msgspec

from runner.errors import StateError
from runner.store.connection import Connection
from runner.store.records import Run


class OutcomeCounts:
    """The counts of all runs. Writing methods run inside the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def read(self, run: Run) -> dict[str, int]:
        """Return the number of rows per outcome so far. Raises StateError for a damaged count."""
        query = "SELECT outcome, rows FROM outcome_count WHERE run = ? AND rows <> 0 ORDER BY outcome"
        found = dict(self._db.execute(query, (run.number,)))
        try:
            return msgspec.convert(found, dict[str, int])
        except msgspec.ValidationError as error:
            raise StateError(f"the database contains a damaged count of outcomes: {error}") from error

    def add(self, run: int, counts: Mapping[str, int]) -> None:
        """Add rows to the counts of a run; negative numbers take them away."""
        self._db.executemany(
            "INSERT INTO outcome_count (run, outcome, rows) VALUES (?, ?, ?)"
            " ON CONFLICT (run, outcome) DO UPDATE SET rows = outcome_count.rows + excluded.rows",
            [(run, outcome, rows) for outcome, rows in counts.items()],
        )

    def replace(self, run: int, counts: Mapping[str, int]) -> None:
        """Replace all counts of a run."""
        self._db.execute("DELETE FROM outcome_count WHERE run = ?", (run,))
        self.add(run, counts)
