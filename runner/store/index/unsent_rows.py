"""Write the index of the rows of a run that are in no batch: settled ones, and duplicates of earlier ones."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from runner.files.atomic import open_private_file, sync_folder
from runner.store.index.index_files import DUPLICATE, NO_DIGEST, OUTCOME_CODES, UNSENT, find_index, write_index
from runner.store.records import SettledRow
from runner.store.run_folder import RunFolder
from runner.tabular.temporary import open_temporary_database


class UnsentRows:
    """The rows of a run that are in no batch, to be added in their order; memory stays flat.

    `outcomes` counts the settled rows by outcome. The digests of the index files are known at the end; None stands
    for no rows.
    """

    def __init__(self, file: BinaryIO, duplicates: sqlite3.Connection) -> None:
        self._file, self._duplicates = file, duplicates
        self._sha256: Any = hashlib.sha256()
        self.outcomes: dict[str, int] = {}
        self.unsent_index: str | None = None
        self.duplicate_index: str | None = None

    def add_settled(self, settled: SettledRow) -> None:
        """Add a row together with its outcome."""
        row, outcome, offset, length, digest = settled
        self._write(row, 0, OUTCOME_CODES[outcome], offset or 0, length or 0, digest or NO_DIGEST)
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def add_duplicate(self, row: int, first: int) -> None:
        """Add a row whose request an earlier row has too."""
        self._write(row, first, 0, 0, 0, NO_DIGEST)
        count = "INSERT INTO duplicate VALUES (?, 1) ON CONFLICT (row) DO UPDATE SET count = count + 1"
        self._duplicates.execute(count, (first,))

    def _write(self, *values: Any) -> None:
        record = UNSENT.pack(*values)
        self._file.write(record)
        self._sha256.update(record)

    def finish(self, folder: RunFolder, temporary: Path) -> None:
        """Make both index files durable under their names."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if not self._file.tell():
            temporary.unlink()
            return
        self.unsent_index = self._sha256.hexdigest()
        temporary.replace(find_index(folder.to_write, "unsent", self.unsent_index).path)
        sync_folder(temporary.parent)
        found = [DUPLICATE.pack(*one) for one in self._duplicates.execute("SELECT * FROM duplicate ORDER BY row")]
        self.duplicate_index = write_index(folder, "duplicates", found) if found else None


@contextmanager
def write_unsent_rows(folder: RunFolder) -> Iterator[UnsentRows]:
    """Yield the rows to add to, and write the index files of the run at the end."""
    temporary = folder.path / "index" / ".unsent.tmp"
    tables = "CREATE TABLE duplicate (row INTEGER PRIMARY KEY, count INTEGER)"
    with closing(open_temporary_database(tables)) as duplicates, open_private_file(temporary) as file:
        rows = UnsentRows(file, duplicates)
        yield rows
        rows.finish(folder, temporary)
