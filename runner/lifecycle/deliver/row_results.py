"""Read the rows of a run in input order, each with its outcome from the results files.

Everything depends only on the files of the run, so that reading them again gives the same outcomes.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from runner.errors import StateError
from runner.files.digest import sha256_of
from runner.requests.custom_id import make_custom_id
from runner.results.outcome import Outcome, parse_result
from runner.results.output_format import OutputFormat, build_output_format
from runner.runs.snapshot import read_snapshot
from runner.spec.record import spec_from_record
from runner.store.records import Batch, Run
from runner.store.run_folder import FileSlices
from runner.store.store import Store

_MISSING_RESULT_MESSAGES = {
    "missing": "the API returned no result for this request",
    "canceled": "the run was canceled before this row was sent",
}


RowPredicate = Callable[[str | None, str | int], bool]
"""Tells by the recorded outcome and the key of a row whether its result is read."""


class _Row(msgspec.Struct):
    key: str | int
    row: msgspec.Raw


_decode_row = msgspec.json.Decoder(_Row).decode


class StoredRow(NamedTuple):
    """A row of a run as its files have it: `line` in `rows.jsonl`, and `result` in the results, if it has one.

    `round` and `batch` name the batch that it was last sent in, and are 0 if it was in none. `sent` is the number
    of the row that was sent for it: this one, or an earlier one with the same request.
    """

    number: int
    line: bytes
    recorded: str | None
    round: int
    batch: int
    sent: int
    digest: bytes | None
    result: bytes | None


class RowResult(NamedTuple):
    """A row of a run, and its outcome; None while it has none.

    `fields` is the row as JSON. `recorded` is the outcome in the state, which an older version may have judged
    differently. `batch` is that of its latest attempt, and `custom_id` the id in it; both are None for a row that
    this run does not send. `line` is its line in the results, if it has one, and `digest` that of its request.
    """

    number: int
    key: str | int
    fields: msgspec.Raw
    recorded: str | None
    outcome: Outcome | None
    batch: Batch | None
    custom_id: str | None
    line: bytes | None
    digest: bytes | None


def recorded_output_format(store: Store, run: Run) -> OutputFormat:
    """Return the rules by which the answers of a run are judged: those of the spec that it was started with."""
    recorded = spec_from_record(read_snapshot(store, run).record, path=Path(), root=Path())
    return build_output_format(recorded.output)


def verify_results(store: Store, run: Run) -> None:
    """Raise StateError if a results file differs from its digest, where one is recorded."""
    for batch in store.batches(run):
        if batch.results_sha256 is not None:
            path = store.folder(run).results(batch.round, batch.batch)
            if sha256_of(path) != batch.results_sha256:
                message = f"{path.name} differs from what was received"
                raise StateError(f"the files of run {run.id} are damaged: {message}")


def read_row_results(
    store: Store,
    run: Run,
    output_format: OutputFormat,
    files: FileSlices,
    *,
    is_wanted: RowPredicate | None = None,
) -> Iterator[RowResult]:
    """Yield the rows of a run that are wanted, by default all, with their outcomes.

    Raises StateError if the files of the run are damaged.
    """
    judge = RowJudge(run.id, output_format, index_batches(store, run))
    for stored in read_stored_rows(store, run, files, is_wanted=is_wanted):
        yield judge.judge(stored)


def index_batches(store: Store, run: Run) -> dict[tuple[int, int], Batch]:
    """Return the batches of a run by round and batch."""
    return {(batch.round, batch.batch): batch for batch in store.batches(run)}


def read_stored_rows(
    store: Store, run: Run, files: FileSlices, *, is_wanted: RowPredicate | None = None
) -> Iterator[StoredRow]:
    """Yield the rows of a run that are wanted, by default all, in order.

    Raises StateError if the files of the run are damaged.
    """
    folder, sha256 = store.folder(run), hashlib.sha256()
    # Made once per batch: making a path for each row would cost as much as reading its result.
    results_of = cache(folder.results)
    try:
        with folder.rows.open("rb") as rows:
            for line, (number, name, round, batch, offset, length, sent, digest) in zip(
                rows, store.row_index.row_outcomes(run), strict=True
            ):
                sha256.update(line)
                if is_wanted is not None and not is_wanted(name, _decode_row(line).key):
                    continue
                result = None
                if offset is not None and length is not None:
                    result = files.read(results_of(round, batch), offset, length)
                yield StoredRow(number, line, name, round, batch, sent, digest, result)
        if sha256.hexdigest() != (run.rows_sha256 or sha256.hexdigest()):
            raise ValueError("rows.jsonl differs from what was written")
    except ValueError as error:
        raise _make_damage_error(run.id, error) from error


def _make_damage_error(run: str, error: ValueError) -> StateError:
    return StateError(f"the files of run {run} are damaged: {error}")


class RowJudge:
    """Judges the results of the rows of a run, of which `batches` are those that the rows are in."""

    def __init__(self, run_id: str, output_format: OutputFormat, batches: Mapping[tuple[int, int], Batch]) -> None:
        self._run_id, self._output_format, self._batches = run_id, output_format, batches

    def judge(self, stored: StoredRow) -> RowResult:
        """Return a row with its outcome. Raises StateError if the files of the run are damaged."""
        try:
            return self._judge(stored)
        except ValueError as error:
            raise _make_damage_error(self._run_id, error) from error

    def _judge(self, stored: StoredRow) -> RowResult:
        number, line, name, round, batch, sent, digest, result = stored
        source, outcome = _decode_row(line), None
        sent_as = make_custom_id(self._run_id, round, batch, sent)
        if result is not None:
            fields = msgspec.json.decode(source.row) if self._output_format.checks else None
            outcome = parse_result(result, self._output_format, fields)
            if outcome.custom_id != sent_as:
                raise ValueError(f"the result of row {number} belongs to another request")
        elif name is not None:
            outcome = _outcome_without_result(number, name)
        own, custom_id = self._batches.get((round, batch)), sent_as if batch else None
        return RowResult(number, source.key, source.row, name, outcome, own, custom_id, result, digest)


def _outcome_without_result(number: int, name: str) -> Outcome:
    if name not in _MISSING_RESULT_MESSAGES:
        raise ValueError(f"the result of row {number} is not recorded")
    return Outcome("", name, error={"type": name, "message": _MISSING_RESULT_MESSAGES[name]})


class RequestFinder:
    """Finds the requests of the rows of a run, which also an earlier run may have sent."""

    def __init__(self, store: Store, run: Run, files: FileSlices) -> None:
        self._store, self._run = store, run
        self._rows = store.row_index.make_finder(run, files)
        self._answered = store.answered_requests()

    def find(self, found: RowResult) -> tuple[Run, int, int, int, int] | None:
        """Return the run, round, batch, offset and length of what was sent for a row, or the answer it reuses."""
        if (own := self._rows.find_request(found.number)) is not None:
            return self._run, *own
        if found.digest is None or found.recorded == "rejected":
            return None
        earlier = self._answered.find_request(found.digest)
        if earlier is None:
            return None
        sender = next(one for one in self._store.runs() if one.number == earlier.run)
        return sender, *earlier[1:]


def build_record(found: RowResult, outcome: Outcome) -> dict[str, Any]:
    """Return the record of a row with this outcome; `row` and `usage` are raw JSON."""
    return {
        "key": found.key,
        "row": found.fields,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "output": outcome.output,
        "error": outcome.error,
        "usage": outcome.usage,
        "stop_reason": outcome.stop_reason,
        "model": outcome.model,
        "custom_id": found.custom_id,
        "batch_id": found.batch.batch_id if found.batch is not None else None,
    }
