"""Remote batches: those that are bound to a batch of ours, those that a recovery found, and those ruled out."""

from collections.abc import Iterable
from dataclasses import fields

from runner.store.connection import Connection
from runner.store.records import Batch, RecoveredBatch, Run, list_columns, read_record

_RECOVERED_COLUMNS = list_columns(RecoveredBatch)


class RemoteIndex:
    """The remote batches that the state of a project knows."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def add_recovered_batches(self, run: Run, found: Iterable[RecoveredBatch]) -> None:
        """Record remote batches that belong to a run, inside the caller's transaction."""
        values = [(run.number, *(getattr(one, field.name) for field in fields(RecoveredBatch))) for one in found]
        self._db.executemany(
            f"INSERT INTO recovered_batch (run, {_RECOVERED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            values,
        )

    def recovered_batches(self, run: Run, round: int) -> list[RecoveredBatch]:
        """Return the recorded remote batches of one round of a run."""
        query = f"SELECT {_RECOVERED_COLUMNS} FROM recovered_batch WHERE run = ? AND round = ? ORDER BY created_at"
        return [read_record(RecoveredBatch, row) for row in self._db.execute(query, (run.number, round))]

    def is_excluded(self, batch: Batch, batch_id: str) -> bool:
        """Return whether a remote batch cannot be this one: it is bound already, or its results rule it out."""
        query = (
            "SELECT 1 FROM batch WHERE batch_id = ?1"
            " UNION SELECT 1 FROM excluded_batch WHERE batch_id = ?1 AND run = ?2 AND round = ?3 AND batch = ?4"
        )
        values = (batch_id, batch.run, batch.round, batch.batch)
        return self._db.execute(query, values).fetchone() is not None

    def is_assigned(self, batch_id: str) -> bool:
        """Return whether a remote batch is already bound to a recorded batch."""
        return self._db.execute("SELECT 1 FROM batch WHERE batch_id = ?", (batch_id,)).fetchone() is not None

    def exclude_batch(self, batch: Batch, batch_id: str) -> None:
        """Record that a remote batch is not this one."""
        values = (batch.run, batch.round, batch.batch, batch_id)
        self._db.execute("INSERT INTO excluded_batch VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values)
