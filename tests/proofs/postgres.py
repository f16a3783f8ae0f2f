"""Deliveries to PostgreSQL that are killed at any moment: `python -m tests.proofs.postgres [ROWS] [KILLS]`.

Rows come from one table and outputs go to another, both of a real server. The runner is killed while its
transaction is open: as soon as its INSERT is seen, when it is through with its rows, and at moments between.
Whoever looks at the table sees all of its rows or none, until the command that was given again has ended.
Then the table must hold each row once, with its own text and its own label, no request may have been paid
twice, and to deliver once more must change nothing.
"""

import json
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from tests.support.outputs import records
from tests.support.processes import RUN, Ended, command, end, kill, start
from tests.support.projects import SPEC, write_job
from tests.support.servers import postgres
from tests.support.simulator import paid, simulator

BATCH = {**SPEC["batch"], "max_requests": 10_000}
SINK = {
    "type": "sql",
    "table": "label",
    "key": "id",
    "columns": {"id": "key", "text": "row.text", "label": "output.label"},
    "types": {"id": "integer"},
}
Database = psycopg.Connection[tuple[Any, ...]]


def write_project(root: Path, url: str) -> None:
    """A job from the table `ticket` to the table `label`."""
    query = "SELECT id, text FROM ticket ORDER BY id"
    source = {"type": "sql", "url": url, "query": query, "key": "id"}
    write_job(root, rows=0, batch=BATCH, source=source, sinks=[{**SINK, "url": url}])


def one(database: Database, query: str, *values: Any) -> Any:
    """The only value of the only row of a query."""
    found = database.execute(query.encode(), values).fetchone()
    assert found is not None
    return found[0]


def fill(database: Database, rows: int) -> None:
    """Make the table `ticket`, with texts that only one row has."""
    database.execute("CREATE TABLE ticket (id integer PRIMARY KEY, text text NOT NULL)")
    database.execute(
        """
        INSERT INTO ticket
        SELECT id, 'É ticket ' || id || ', 100%% "mine"; it''s :' || md5(id::text)
        FROM generate_series(1, %s) id
        """,
        [rows],
    )


def visible(database: Database) -> int:
    """The number of labels that another connection sees."""
    is_there = one(database, "SELECT to_regclass('label') IS NOT NULL")
    return int(one(database, "SELECT count(*) FROM label")) if is_there else 0


def inserts(database: Database, since: datetime) -> bool:
    """Return whether a newer connection has an open transaction that writes labels."""
    query = """
        SELECT EXISTS (
            SELECT 1 FROM pg_stat_activity
            WHERE backend_start >= %s AND xact_start IS NOT NULL AND query LIKE 'INSERT INTO label%%'
        )
    """
    return bool(one(database, query, since))


def delivered(pid: int) -> float:
    """The share of the rows that a delivering process has read."""
    process = Path(f"/proc/{pid}")
    for link in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            path = link.readlink()
            if path.name == "rows.jsonl":
                position = (process / "fdinfo" / link.name).read_text().split()[1]
                return int(position) / path.stat().st_size
    return 1.0


def strike(root: Path, environ: dict[str, str], database: Database, rows: int, share: float) -> Ended:
    """Start the command, and kill it in its INSERT once it has taken a share of the rows."""
    since, is_seen = one(database, "SELECT clock_timestamp()"), False
    process = start(root, environ, *RUN)
    while process.is_alive():
        is_seen = is_seen or inserts(database, since)
        assert visible(database) in (0, rows)
        # It may end at any moment.
        with suppress(FileNotFoundError, ProcessLookupError):
            if is_seen and delivered(process.pid) >= share:
                kill(process.pid)
                break
        time.sleep(0.002)
    ended = end(root, process)
    assert visible(database) in (0, rows)
    return ended


def finish(root: Path, environ: dict[str, str]) -> None:
    """Run the command to its end, however long that takes."""
    process = start(root, environ, *RUN)
    process.join()
    ended = end(root, process)
    assert ended.returncode == 0, ended.stderr


def labels(folder: Path) -> dict[int, str]:
    """The simulator's answer for each row."""
    found = {}
    for path in folder.glob("msgbatch_*.jsonl"):
        for record in records(path):
            answer = json.loads(record["result"]["message"]["content"][0]["text"])
            found[int(record["custom_id"].rsplit("-", 1)[1])] = answer["label"]
    return found


def check(root: Path, database: Database, rows: int) -> list[tuple[Any, ...]]:
    """Every row was paid once and stands in the table once, with what is its own; return the table."""
    bill, answers = paid(root / "api"), labels(root / "api")
    twice = [one for one in bill.items() if one[1] != 1]
    assert bill == {("1", row): 1 for row in range(1, rows + 1)}, twice
    tickets = database.execute("SELECT id, text FROM ticket ORDER BY id").fetchall()
    table = database.execute("SELECT id, text, label FROM label ORDER BY id").fetchall()
    assert len(table) == rows
    assert table == [(id, text, answers[id]) for id, text in tickets]
    return table


def prove(root: Path, rows: int, kills: int) -> tuple[int, float]:
    """Kill deliveries of a job and let it finish; return how many were killed, and the seconds in all."""
    began, struck = time.monotonic(), 0
    with (
        postgres() as url,
        psycopg.connect(url, autocommit=True) as database,
        simulator(root / "api") as environ,
    ):
        fill(database, rows)
        write_project(root, url)
        while struck < kills:
            ended = strike(root, environ, database, rows, struck / max(1, kills - 1))
            assert ended.returncode in (-9, 0), ended.stderr
            struck += ended.returncode == -9
        finish(root, environ)
        table = check(root, database, rows)
        finish(root, environ)
        assert check(root, database, rows) == table
        examined = command(root, environ, "doctor")
        assert examined.returncode == 0, examined.stdout
    return struck, time.monotonic() - began


def main() -> None:
    """Prove it for so many rows and kills; print what was proved."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    with tempfile.TemporaryDirectory() as name:
        struck, seconds = prove(Path(name), rows, kills)
    print(f"{rows:,} rows, {struck} kills, {seconds:.0f} s: 0 paid twice, 0 lost, 0 seen before the commit")


if __name__ == "__main__":
    main()
