"""Move the rows of an older database, which had a table of them, into index files."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.files.atomic import make_private_folder
from runner.store.index.index_files import (
    DUPLICATE,
    NO_DIGEST,
    OUTCOME_CODES,
    REQUEST,
    RESULT,
    UNSENT,
    write_index,
)
from runner.store.run_folder import RunFolder

ROW_TABLE_VERSION = 9
"""The last version of the database with a table of rows."""

_IN_BATCH = "FROM row WHERE run = ? AND row BETWEEN ? AND ? AND round = ? AND batch = ? ORDER BY row"


def write_row_indexes(connection: sqlite3.Connection, folder: Path) -> str:
    """Write the index files of all runs, and return the SQL that records them in the upgraded tables."""
    statements: list[str] = []
    for run, run_id in connection.execute("SELECT number, id FROM run WHERE purged_at IS NULL").fetchall():
        indexes = RunFolder(folder / "runs" / run_id)
        if not indexes.path.exists():
            continue
        make_private_folder(indexes.path / "index")
        statements += _write_unsent(connection, run, indexes)
        query = "SELECT round, batch, state, first_row, last_row FROM batch WHERE run = ?"
        for batch in connection.execute(query, (run,)).fetchall():
            statements.append(_write_batch(connection, run, indexes, *batch))
    return "\n".join(["", *statements])


def _write_batch(
    connection: sqlite3.Connection,
    run: int,
    folder: RunFolder,
    round: int,
    batch: int,
    state: str,
    first: int,
    last: int,
) -> str:
    """Write the index files of a batch, of the rows whose latest attempt it is, and return the SQL for it."""
    place, name = (run, first, last, round, batch), f"{round}-{batch}"
    columns = "row, body_offset, body_length, coalesce(sent_length, body_length), size_adjustment, digest"
    requests = (
        REQUEST.pack(*one, digest or NO_DIGEST)
        for *one, digest in connection.execute(f"SELECT {columns} {_IN_BATCH}", place)
    )
    values = f"request_index = '{write_index(folder, f'{name}.requests', requests)}'"
    if state == "collected":
        found = connection.execute(f"SELECT row, outcome, retry, result_offset, result_length {_IN_BATCH}", place)
        results = list(found)
        records = (_pack_result(*one) for one in results)
        values += f", result_index = '{write_index(folder, f'{name}.results', records)}'"
        values += f", retries = {sum(retry > 0 for _, _, retry, *_ in results)}"
    return f"UPDATE batch SET {values} WHERE run = {run} AND round = {round} AND batch = {batch};"


def _pack_result(row: int, outcome: str | None, retry: int, offset: int | None, length: int | None) -> bytes:
    return RESULT.pack(row, OUTCOME_CODES[outcome], retry, offset or 0, length or 0)


def _write_unsent(connection: sqlite3.Connection, run: int, folder: RunFolder) -> Iterator[str]:
    """Write the index files of the rows of a run that are in no batch, and yield the SQL for them."""
    columns = "row, duplicate_of, outcome, result_offset, result_length, digest"
    query = f"SELECT {columns} FROM row WHERE run = ? AND batch = 0 ORDER BY row"
    unsent = [_pack_unsent(*one) for one in connection.execute(query, (run,))]
    if unsent:
        yield f"UPDATE run SET unsent_index = '{write_index(folder, 'unsent', unsent)}' WHERE number = {run};"
    query = (
        "SELECT duplicate_of, count(*) FROM row WHERE run = ? AND duplicate_of IS NOT NULL"
        " GROUP BY duplicate_of ORDER BY duplicate_of"
    )
    duplicates = [DUPLICATE.pack(*one) for one in connection.execute(query, (run,))]
    if duplicates:
        index = write_index(folder, "duplicates", duplicates)
        yield f"UPDATE run SET duplicate_index = '{index}' WHERE number = {run};"


def _pack_unsent(row: int, first: int | None, outcome: str | None, *rest: Any) -> bytes:
    offset, length, digest = rest
    code = 0 if first else OUTCOME_CODES[outcome]
    return UNSENT.pack(row, first or 0, code, offset or 0, length or 0, digest or NO_DIGEST)
