"""Check the state on disk for inconsistencies, and report what the next run would do.

No run is changed. Opening the state makes its folder private, and upgrades an older database.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from runner.api.remote_batch import RETENTION_SECONDS
from runner.errors import FileChanged, StateError
from runner.files.digest import sha256_of
from runner.files.remote import is_url
from runner.lifecycle.maintain.check_accounts import check_keys, check_platforms
from runner.lifecycle.maintain.check_objects import check_objects, find_stray_runs
from runner.lifecycle.maintain.find_secrets import check_permissions, find_api_keys
from runner.requests.custom_id import make_custom_id
from runner.requests.stored_params import StoredBody
from runner.results.outcome import parse_result
from runner.results.outcome_names import OUTCOMES
from runner.runs.context import batch_label
from runner.runs.project import SIMULATED_FOLDER, find_state, find_state_root
from runner.runs.snapshot import read_snapshot
from runner.spec.spec_files import find_project_root
from runner.store.moving.moved import check_nothing_left
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.records import Batch, Run
from runner.store.run_batches import decode_column
from runner.store.run_folder import FileSlices, open_slices
from runner.store.store import Store
from runner.text import pluralize

_MAX_SHOWN = 10
_NEXT_STEPS = {
    "prepared": "sends",
    "submitting": "searches for",
    "submitted": "polls",
    "ended": "collects",
}
_RECOVER_HINT = "move .runner away and run `runner recover SPEC` to rebuild it from the API"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Findings, one line per problem, and the next steps, one line per unfinished run."""

    findings: list[str]
    next_steps: list[str]
    runs: int


def diagnose_state(*, remote: bool = False, download: bool = False) -> Diagnosis:
    """Check the real and simulated state of the project around the working folder.

    With `remote`, the batches of the workspace are compared too. The files of a shared state are compared by name
    and size, and read only with `download`. Raises StateLocked if another runner holds the state, and StateError
    if a database cannot be opened.
    """
    root = find_project_root(Path.cwd() / "spec")
    findings: list[str] = []
    plans: list[str] = []
    count = 0
    for base in (root, root / SIMULATED_FOLDER):
        place = find_state(base)
        folder = place.folder
        if not place.exists:
            if any((folder / "runs").glob("*")):
                findings.append(f"{folder}/state.db is missing, but {folder}/runs contains runs: {_RECOVER_HINT}")
            continue
        findings += check_permissions(folder) if folder.exists() else ()
        findings += _find_left_runs(place)
        # Of a shared state nothing is locked as a whole, and this only reads.
        with open_store(place, lock=not place.is_shared) as store:
            runs = store.runs()
            count += len(runs)
            findings += find_api_keys(folder)
            findings += find_stray_runs(store, store.shared) if store.shared is not None else ()
            for run in runs:
                lines = _check_run(store, run, are_files_read=download or not place.is_shared)
                findings += [f"run {run.id}: {line}" for line in lines]
                plans += _describe_next_run(store, run)
            if base == root:
                findings += check_keys(store, runs)
            if remote and base == root:
                findings += check_platforms(store, runs)
    return Diagnosis(list(dict.fromkeys(findings)), plans, count)


def _find_left_runs(place: StatePlace) -> Iterator[str]:
    """Yield a line if the folder of a shared state has runs of its own."""
    try:
        if place.is_shared:
            check_nothing_left(place.folder, str(place))
    except StateError as error:
        yield str(error)


def _check_run(store: Store, run: Run, *, are_files_read: bool) -> Iterator[str]:
    """Yield the problems of one run."""
    if run.state == "preparing":
        # Another machine may prepare it right now.
        if store.shared is None:
            yield "was killed while it was being prepared; nothing was sent, and the next run discards it"
        return
    if store.shared is not None:
        yield from check_objects(store, store.shared, run)
    if run.purged_at is not None:
        return
    yield from _check_batch_states(store, run)
    if are_files_read:
        yield from _check_files(store, run)
    for sink in decode_column(run.sinks, list[dict[str, Any]]):
        # Outputs behind a URL, or on another machine, are not checked.
        is_here = store.shared is None and not is_url(sink["path"])
        if run.state == "finished" and is_here and not Path(sink["path"]).exists():
            yield f"{sink['path']} is missing: run the spec again to write it; nothing is sent"


def _check_batch_states(store: Store, run: Run) -> Iterator[str]:
    """Check what the database has of the batches of a run."""
    batches = store.batches(run)
    for batch in batches:
        yield from (f"{batch_label(batch)}: {line}" for line in _check_batch_state(store, run, batch))
    for before, after in pairwise(batches):
        if before.round < after.round and before.state != "collected":
            yield f"{batch_label(after)}: was prepared before {batch_label(before)} was collected"


def _check_files(store: Store, run: Run) -> Iterator[str]:
    """Check the files of a run."""
    try:
        read_snapshot(store, run)
    except StateError as error:
        yield str(error)
    yield from _stop_at_damage(_check_rows(store, run))
    for batch in store.batches(run):
        lines = _stop_at_damage(_check_batch_files(store, run, batch))
        yield from (f"{batch_label(batch)}: {line}" for line in lines)


def _stop_at_damage(problems: Iterator[str]) -> Iterator[str]:
    """Yield problems up to an index file that cannot be read, which ends them as the last one."""
    try:
        yield from problems
    except StateError as error:
        yield f"{error}: {_RECOVER_HINT}"


def _check_rows(store: Store, run: Run) -> Iterator[str]:
    """Check that each row is in rows.jsonl and in the database once, and its outcome counted once."""
    path, sha256 = store.folder(run).rows, hashlib.sha256()
    try:
        with path.open("rb") as file:
            lines = 0
            for lines, line in enumerate(file, 1):  # noqa: B007
                sha256.update(line)
        if sha256.hexdigest() != (run.rows_sha256 or sha256.hexdigest()):
            yield f"rows.jsonl differs from what was written: {_RECOVER_HINT}"
    except OSError as error:
        yield f"rows.jsonl cannot be read ({error.strerror}): {_RECOVER_HINT}"
        lines = run.rows
    counts: dict[str, int] = {}
    number = 0
    for number, (row, outcome, *_) in enumerate(store.row_index.row_outcomes(run), 1):
        if row != number:
            yield f"row {number} is missing from the index files, and row {row} follows: {_RECOVER_HINT}"
            return
        if outcome is not None:
            counts[outcome] = counts.get(outcome, 0) + 1
    if not lines == number == run.rows:
        found = f"{lines:,} are in rows.jsonl and {number:,} in the index files"
        yield f"should have {pluralize(run.rows, 'row')}, but {found}: {_RECOVER_HINT}"
    if counts != store.counts.read(run) or not counts.keys() <= set(OUTCOMES):
        yield f"outcome counts are wrong: {store.counts.read(run)} instead of {counts}"


def _check_batch_files(store: Store, run: Run, batch: Batch) -> Iterator[str]:
    """Yield the problems of the files of one batch."""
    carried = store.row_index.rows_of(batch)
    # The rows of a canary without answers belong to the next canary.
    is_last = batch.send_mode != "canary" and batch.round == max(other.round for other in store.batches(run))
    if len(carried) > batch.requests or (is_last and len(carried) != batch.requests):
        yield f"has {len(carried):,} rows, but {pluralize(batch.requests, 'request')}: {_RECOVER_HINT}"
    if batch.state == "collected":
        yield from _check_results(store, run, batch)
    if batch.state != "collected" or run.state == "running":
        body = StoredBody(store.folder(run).body(batch.round, batch.batch), find_state_root(store.path))
        yield from _check_body(body, batch)


def _check_batch_state(store: Store, run: Run, batch: Batch) -> Iterator[str]:
    """Yield the problems of one batch that its files do not tell."""
    has_no_id = batch.send_mode != "batch" or batch.state in ("prepared", "submitting")
    if (batch.batch_id is None) != has_no_id and batch.state != "collected":
        yield f"is {batch.state}, but its batch ID is {batch.batch_id}: {_RECOVER_HINT}"
    marker = store.folder(run).intent_marker(batch.round, batch.batch)
    if batch.state == "prepared" and marker.exists():
        yield "is prepared, but may have been sent before: the next run searches for it first"
    counts = decode_column(batch.counts, dict[str, int])
    if counts and sum(counts.values()) != batch.requests:
        yield f"has {pluralize(batch.requests, 'request')}, but the API counted {counts}"
    age = time.time() - (batch.created_at or time.time())
    if batch.state in ("submitted", "ended") and age > RETENTION_SECONDS:
        yield "is older than 29 days: the API no longer has its results (--accept-loss continues without them)"


def _file_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _check_body(body: StoredBody, batch: Batch) -> Iterator[str]:
    try:
        is_same = body.is_intact(batch.sha256)
    except FileChanged as error:
        yield f"cannot be sent again: {error}"
        return
    except OSError:
        is_same = False
    if not is_same:
        name = body.path.name
        yield f"{name} differs from what was written: it will not be sent, nor will its rows be sent again"


def _check_results(store: Store, run: Run, batch: Batch) -> Iterator[str]:
    """Check that the results are as received, and that each outcome has a line with the id of its row."""
    path = store.folder(run).results(batch.round, batch.batch)
    with open_slices() as files:
        for row, outcome, _, offset, length in store.row_index.outcomes_of(batch):
            if offset is None or length is None:
                continue
            if not _matches_row(files, path, offset, length, run, batch, row):
                yield (
                    f"the result of row {row} ({outcome}) is not at its recorded place in "
                    f"its file: {_RECOVER_HINT}"
                )
                return
    if batch.results_sha256 is not None and _file_sha256(path) != batch.results_sha256:
        yield f"{path.name} differs from what was received: {_RECOVER_HINT}"


def _matches_row(
    files: FileSlices, path: Path, offset: int, length: int, run: Run, batch: Batch, row: int
) -> bool:
    try:
        line = parse_result(files.read(path, offset, length))
    except (ValueError, OSError):
        return False
    return line.custom_id == make_custom_id(run.id, batch.round, batch.batch, row)


def _describe_next_run(store: Store, run: Run) -> Iterator[str]:
    """Yield a line that says what the next run of the spec does with an unfinished run."""
    if run.state != "running":
        return
    left = [batch for batch in store.batches(run) if batch.state != "collected"]
    steps = [f"{_NEXT_STEPS[batch.state]} {batch_label(batch)}" for batch in left[:_MAX_SHOWN]]
    if len(left) > _MAX_SHOWN:
        steps.append(f"continues with {len(left) - _MAX_SHOWN:,} more")
    yield (
        f"run {run.id} of {run.spec}: the next run "
        f"{', '.join(steps) or 'writes the outputs or prepares another round'}"
    )
