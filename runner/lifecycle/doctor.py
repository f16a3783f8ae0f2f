"""Check the state on disk for inconsistencies, and report what the next run would do.

No run is changed. Opening the state makes its folder private, and upgrades an older database.
"""

import hashlib
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from runner.api import Api
from runner.body import custom_id
from runner.errors import StateError
from runner.lifecycle.execute import SIMULATED, connected
from runner.lifecycle.job import decoded, name_of, plural
from runner.lifecycle.record import recorded
from runner.lifecycle.recover import found_in
from runner.outcome import OUTCOMES, read
from runner.remote import is_url
from runner.spec.load import project_root
from runner.store.folder import Pieces, pieces
from runner.store.records import Batch, Run
from runner.store.state import Store, open_store

# The shape of an API key; the state must not contain any.
_KEY = re.compile(rb"sk-ant-[A-Za-z0-9_-]{20,}")
_BLOCK = 1 << 20
_KEPT_SECONDS = 29 * 86_400
_SHOWN = 10
_NEXT = {
    "prepared": "sends",
    "submitting": "searches for",
    "submitted": "polls",
    "ended": "collects",
}
_RECOVER = "move .runner away and run `runner recover SPEC` to rebuild it from the API"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Findings, one line per problem, and the next steps, one line per unfinished run."""

    findings: list[str]
    plans: list[str]
    runs: int


def doctor(*, remote: bool = False) -> Diagnosis:
    """Check the real and simulated state of the project around the working folder.

    With `remote`, the batches of the workspace are compared too. Raises Locked if another runner holds the state,
    and StateError if a database cannot be opened.
    """
    root = project_root(Path.cwd() / "spec")
    findings: list[str] = []
    plans: list[str] = []
    count = 0
    for base in (root, root / SIMULATED):
        folder = base / ".runner"
        if not (folder / "state.db").exists():
            if any((folder / "runs").glob("*")):
                findings.append(f"{folder}/state.db is missing, but {folder}/runs contains runs: {_RECOVER}")
            continue
        findings += _modes(folder)
        with open_store(folder) as store:
            runs = store.runs()
            count += len(runs)
            findings += _keys(folder)
            for run in runs:
                findings += [f"run {run.id}: {line}" for line in _run(store, run)]
                plans += _plan(store, run)
            if remote and base == root:
                with connected(store.path, simulate=False) as api:
                    findings += _remote(store, api)
    return Diagnosis(findings, plans, count)


def _modes(folder: Path) -> Iterator[str]:
    """Yield files and folders that other users can read.

    Checked first, because opening the state makes its folder private.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f"{path} can be read by other users: run `chmod go= {path}`"


def _keys(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and "simulator" not in path.parts and _holds_key(path):
            yield f"{path} contains what looks like an API key: replace the key unless it comes from your rows"


def _holds_key(path: Path) -> bool:
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if _KEY.search(rest + block):
                return True
            rest = block[-100:]
    return False


def _run(store: Store, run: Run) -> Iterator[str]:
    """Yield the problems of one run."""
    if run.state == "preparing":
        yield "was killed while it was being prepared; nothing was sent, and the next run discards it"
        return
    if run.purged_at is not None:
        return
    try:
        recorded(store, run)
    except StateError as error:
        yield str(error)
    yield from _rows(store, run)
    batches = store.batches(run)
    for batch in batches:
        yield from (f"{name_of(batch)}: {line}" for line in _batch(store, run, batch))
    for before, after in pairwise(batches):
        if before.round < after.round and before.state != "collected":
            yield f"{name_of(after)}: was prepared before {name_of(before)} was collected"
    for sink in decoded(run.sinks, list[dict[str, Any]]):
        # Outputs behind a URL are not checked.
        if run.state == "finished" and not is_url(sink["path"]) and not Path(sink["path"]).exists():
            yield f"{sink['path']} is missing: run the spec again to write it; nothing is sent"


def _rows(store: Store, run: Run) -> Iterator[str]:
    """Check that each row is in rows.jsonl and in the database once, and its outcome counted once."""
    path, sha256 = store.folder(run).rows, hashlib.sha256()
    try:
        with path.open("rb") as file:
            lines = 0
            for lines, line in enumerate(file, 1):  # noqa: B007
                sha256.update(line)
        if sha256.hexdigest() != (run.rows_sha256 or sha256.hexdigest()):
            yield f"rows.jsonl differs from what was written: {_RECOVER}"
    except OSError as error:
        yield f"rows.jsonl cannot be read ({error.strerror}): {_RECOVER}"
        lines = run.rows
    counts: dict[str, int] = {}
    number = 0
    for number, (row, outcome, *_) in enumerate(store.outcomes(run), 1):
        if row != number:
            yield f"row {number} is missing from the database, and row {row} follows: {_RECOVER}"
            return
        if outcome is not None:
            counts[outcome] = counts.get(outcome, 0) + 1
    if not lines == number == run.rows:
        found = f"{lines:,} are in rows.jsonl and {number:,} in the database"
        yield f"should have {run.rows:,} rows, but {found}: {_RECOVER}"
    if counts != store.tally(run) or not counts.keys() <= set(OUTCOMES):
        yield f"outcome counts are wrong: {store.tally(run)} instead of {counts}"


def _batch(store: Store, run: Run, batch: Batch) -> Iterator[str]:
    """Yield the problems of one batch and its files."""
    folder = store.folder(run)
    carried = store.rows_of(batch)
    # The rows of a canary without answers belong to the next canary.
    is_last = batch.lane != "canary" and batch.round == max(other.round for other in store.batches(run))
    if len(carried) > batch.requests or (is_last and len(carried) != batch.requests):
        yield f"has {len(carried):,} rows, but {plural(batch.requests, 'request')}: {_RECOVER}"
    has_no_id = batch.lane != "batch" or batch.state in ("prepared", "submitting")
    if (batch.batch_id is None) != has_no_id and batch.state != "collected":
        yield f"is {batch.state}, but its batch ID is {batch.batch_id}: {_RECOVER}"
    if batch.state == "prepared" and folder.sent(batch.round, batch.batch).exists():
        yield "is prepared, but may have been sent before: the next run searches for it first"
    counts = decoded(batch.counts, dict[str, int])
    if counts and sum(counts.values()) != batch.requests:
        yield f"has {plural(batch.requests, 'request')}, but the API counted {counts}"
    age = time.time() - (batch.created_at or time.time())
    if batch.state in ("submitted", "ended") and age > _KEPT_SECONDS:
        yield "is older than 29 days: the API no longer has its results (--accept-loss continues without them)"
    if batch.state == "collected":
        yield from _results(store, run, batch)
    if batch.state != "collected" or run.state == "running":
        yield from _body(folder.body(batch.round, batch.batch), batch)


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _body(path: Path, batch: Batch) -> Iterator[str]:
    if _digest(path) != batch.sha256:
        yield f"{path.name} differs from what was written: it will not be sent, nor will its rows be sent again"


def _results(store: Store, run: Run, batch: Batch) -> Iterator[str]:
    """Check that the results are as received, and that each outcome has a line with the id of its row."""
    path = store.folder(run).results(batch.round, batch.batch)
    with pieces() as files:
        for row, outcome, round, number, offset, length, sent in store.outcomes(run):
            if (round, number) != (batch.round, batch.batch) or offset is None or length is None:
                continue
            if not _agrees(files, path, offset, length, run, batch, sent):
                yield f"the result of row {row} ({outcome}) is not at its recorded place in its file: {_RECOVER}"
                return
    if batch.results_sha256 is not None and _digest(path) != batch.results_sha256:
        yield f"{path.name} differs from what was received: {_RECOVER}"


def _agrees(files: Pieces, path: Path, offset: int, length: int, run: Run, batch: Batch, row: int) -> bool:
    try:
        line = read(files.read(path, offset, length))
    except (ValueError, OSError):
        return False
    return line.custom_id == custom_id(run.id, batch.round, batch.batch, row)


def _remote(store: Store, api: Api) -> Iterator[str]:
    """Yield batches of our runs in the workspace that the state does not have: paid for, but not used."""
    known = {run.id: {(one.round, one.batch): one for one in store.batches(run)} for run in store.runs()}
    for run_id, found in found_in(api, api.newest(until=api.now - 29 * 86_400)):
        ours = known.get(run_id, {}).get((found.round, found.batch))
        if run_id not in known or (ours is not None and ours.batch_id in (found.batch_id, None)):
            continue
        cost = "paid for, but not used" if ours is None else "paid twice"
        which = f"batch {found.batch} of round {found.round}"
        yield f"run {run_id}: {found.batch_id} was sent as {which}: {plural(found.requests, 'request')} {cost}"


def _plan(store: Store, run: Run) -> Iterator[str]:
    """Yield a line that says what the next run of the spec does with an unfinished run."""
    if run.state != "running":
        return
    left = [batch for batch in store.batches(run) if batch.state != "collected"]
    steps = [f"{_NEXT[batch.state]} {name_of(batch)}" for batch in left[:_SHOWN]]
    if len(left) > _SHOWN:
        steps.append(f"continues with {len(left) - _SHOWN:,} more")
    yield (
        f"run {run.id} of {run.spec}: the next run "
        f"{', '.join(steps) or 'writes the outputs or prepares another round'}"
    )
