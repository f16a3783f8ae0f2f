"""Write outcomes to the outputs: one pass over the rows in input order, to all sinks at once.

The outputs depend only on the files of the run, so that writing them again gives the same bytes.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import msgspec

from runner.errors import InputError, Problem, StateError
from runner.files.digest import sha256_of
from runner.lifecycle.deliver.places import OutputPlace, choose_places
from runner.requests.custom_id import make_custom_id
from runner.results.outcome import Outcome, parse_result
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.sinks.open import open_sink
from runner.spec.spec import Sink
from runner.store.records import Batch
from runner.store.run_folder import FileSlices, open_slices
from runner.tabular.database import DatabaseError, Transactions
from runner.text import pluralize

_MISSING_RESULT_MESSAGES = {
    "missing": "the API returned no result for this request",
    "canceled": "the run was canceled before this row was sent",
}


class _Row(msgspec.Struct):
    key: str | int
    row: msgspec.Raw


def _build_records(
    context: RunContext, output_format: OutputFormat, files: FileSlices, *, decoded: bool, is_partial: bool
) -> Iterator[tuple[int, str | None, dict[str, Any]]]:
    """Yield the number, recorded outcome and record of each row in order.

    `row` and `usage` in the record stay raw JSON unless `decoded`.
    """
    batches = {(batch.round, batch.batch): batch for batch in context.store.batches(context.run)}
    decode_row = msgspec.json.Decoder(_Row).decode
    folder, sha256 = context.store.folder(context.run), hashlib.sha256()
    with folder.rows.open("rb") as rows:
        for line, (number, name, round, batch, offset, length, sent) in zip(
            rows, context.store.row_index.row_outcomes(context.run), strict=True
        ):
            sha256.update(line)
            if name is None and is_partial:
                continue
            source = decode_row(line)
            sent_as = make_custom_id(context.run.id, round, batch, sent)
            if offset is None or length is None:
                absent = name or "missing"
                outcome = Outcome("", absent, error={"type": absent, "message": _MISSING_RESULT_MESSAGES[absent]})
            else:
                fields = msgspec.json.decode(source.row) if output_format.checks else None
                outcome = parse_result(
                    files.read(folder.results(round, batch), offset, length), output_format, fields
                )
                if outcome.custom_id != sent_as:
                    raise ValueError(f"the result of row {number} belongs to another request")
            record = _build_record(source, outcome, batches.get((round, batch)))
            record["custom_id"] = sent_as if batch else None
            if decoded:
                record["row"] = msgspec.json.decode(source.row)
                record["usage"] = msgspec.json.decode(outcome.usage) if outcome.usage is not None else None
            yield number, name, record
    if sha256.hexdigest() != (context.run.rows_sha256 or sha256.hexdigest()):
        raise ValueError("rows.jsonl differs from what was written")


def _verify_results(context: RunContext) -> None:
    """Raise ValueError if a results file differs from its digest, where one is recorded."""
    for batch in context.store.batches(context.run):
        if batch.results_sha256 is not None:
            path = context.store.folder(context.run).results(batch.round, batch.batch)
            if sha256_of(path) != batch.results_sha256:
                raise ValueError(f"{path.name} differs from what was received")


def _build_record(source: _Row, outcome: Outcome, batch: Batch | None) -> dict[str, Any]:
    return {
        "key": source.key,
        "row": source.row,
        "outcome": outcome.outcome,
        "output": outcome.output,
        "error": outcome.error,
        "usage": outcome.usage,
        "stop_reason": outcome.stop_reason,
        "model": outcome.model,
        "custom_id": None,
        "batch_id": batch.batch_id if batch is not None else None,
        "citations": outcome.citations,
    }


def _verified_records(
    context: RunContext, output_format: OutputFormat, files: FileSlices, *, decoded: bool, is_partial: bool
) -> Iterator[tuple[int, str | None, dict[str, Any]]]:
    try:
        _verify_results(context)
        yield from _build_records(context, output_format, files, decoded=decoded, is_partial=is_partial)
    except ValueError as error:
        raise StateError(f"the files of run {context.run.id} are damaged: {error}") from error


def _extra_entries(sink: Sink, place: OutputPlace) -> dict[str, str]:
    table = {"table": sink.options["table"]} if sink.type == "sql" else {}
    return table if place.instead_of is None else {**table, "instead_of": str(place.instead_of)}


@contextmanager
def _map_commit_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise InputError([Problem("sinks", f"cannot write: {error}; run again: nothing is lost")]) from error


def _correct_outcomes(context: RunContext, corrected: list[tuple[int, str]]) -> None:
    """Record the outcomes of rows whose answers an older version judged in another way."""
    with context.store.transaction():
        context.store.row_index.correct_outcomes(context.run, corrected)
    count = pluralize(len(corrected), "row")
    context.report(f"run {context.run.id}: {count} judged by today's rules, which an older version did not have")


def write_outputs(
    context: RunContext, output_format: OutputFormat, *, is_partial: bool = False
) -> list[dict[str, Any]]:
    """Write every sink and return {type, path, rows} of each; a file appears whole or not at all.

    SQL sinks also have `table`, and an output beside a complete one has the path of that one in `instead_of`. In
    an unfinished run, `is_partial` leaves out rows that have no outcome yet.

    Raises InputError if a column cannot be computed or a database cannot be written. Raises OSError if a file
    cannot be written, and StateError if the files of the run are damaged.
    """
    sinks = context.spec.sinks
    chosen = choose_places(context, has_open_rows=is_partial)
    places = [one.destination for one in chosen]
    rows, corrected = [0] * len(sinks), list[tuple[int, str]]()
    if elsewhere := [str(place) for place in places if place.path is None]:
        # This can take a while: a table can be locked, or a bucket far away.
        context.report(f"writing to {', '.join(elsewhere)}")
    with _map_commit_errors(), ExitStack() as stack:
        files = stack.enter_context(open_slices())
        # Exited after the sinks: databases are committed once all files are in place.
        transactions = stack.enter_context(Transactions())
        places = [replace(place, transactions=transactions) for place in places]
        types = read_snapshot(context.store, context.run).types
        writers = [stack.enter_context(open_sink(context.spec, n, place, types)) for n, place in enumerate(places)]
        decoded = any(sink.columns or sink.type not in ("csv", "jsonl") for sink in sinks)
        how = {"decoded": decoded, "is_partial": is_partial}
        for number, name, record in _verified_records(context, output_format, files, **how):
            if record["outcome"] != (name or "missing"):
                corrected.append((number, record["outcome"]))
            for index, write_record in enumerate(writers):
                if not (chosen[index].keeps_rows and record["outcome"] == "canceled"):
                    rows[index] += write_record(record)
    if corrected:
        _correct_outcomes(context, corrected)
    return [
        {"type": sink.type, "path": str(one.destination), **_extra_entries(sink, one), "rows": count}
        for sink, one, count in zip(sinks, chosen, rows, strict=True)
    ]
