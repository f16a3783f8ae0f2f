"""Write outcomes to the outputs: one pass over the rows in input order, to all sinks at once.

The outputs depend only on the files of the run, so that writing them again gives the same bytes.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import msgspec

from runner.errors import InputError, Interrupted, Problem
from runner.lifecycle.deliver.places import OutputPlace, choose_places
from runner.lifecycle.deliver.row_results import RowResult, read_row_results, verify_results
from runner.results.outcome import Outcome
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.sinks.open import open_sink
from runner.spec.spec import Sink
from runner.store.run_folder import FileSlices, open_slices
from runner.tabular.database import DatabaseError, Transactions
from runner.text import pluralize

_MISSING = Outcome(
    "", "missing", error={"type": "missing", "message": "the API returned no result for this request"}
)


def _build_records(
    context: RunContext, output_format: OutputFormat, files: FileSlices, *, decoded: bool, is_partial: bool
) -> Iterator[tuple[int, str | None, dict[str, Any]]]:
    """Yield the number, recorded outcome and record of each row in order.

    `row` and `usage` in the record stay raw JSON unless `decoded`.
    """

    def is_wanted(recorded: str | None, _: str | int) -> bool:
        return recorded is not None or not is_partial

    for found in read_row_results(context.store, context.run, output_format, files, is_wanted=is_wanted):
        if context.stop.is_set():
            raise Interrupted("stopped while the outputs were written: they stay as they were")
        record = _build_record(found, found.outcome or _MISSING)
        if decoded:
            record["row"] = msgspec.json.decode(found.fields)
            usage = record["usage"]
            record["usage"] = msgspec.json.decode(usage) if usage is not None else None
        yield found.number, found.recorded, record


def _build_record(found: RowResult, outcome: Outcome) -> dict[str, Any]:
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
        "citations": outcome.citations,
    }


def _verified_records(
    context: RunContext, output_format: OutputFormat, files: FileSlices, *, decoded: bool, is_partial: bool
) -> Iterator[tuple[int, str | None, dict[str, Any]]]:
    verify_results(context.store, context.run)
    yield from _build_records(context, output_format, files, decoded=decoded, is_partial=is_partial)


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
    line = f"run {context.run.id}: {count} judged by today's rules, which an older version did not have"
    context.report("warning", line)


def write_outputs(
    context: RunContext, output_format: OutputFormat, *, is_partial: bool = False
) -> list[dict[str, Any]]:
    """Write every sink and return {type, path, rows} of each; a file appears whole or not at all.

    SQL sinks also have `table`, and an output beside a complete one has the path of that one in `instead_of`. In
    an unfinished run, `is_partial` leaves out rows that have no outcome yet.

    Raises InputError if a column cannot be computed or a database cannot be written. Raises OSError if a file
    cannot be written, StateError if the files of the run are damaged, and Interrupted after `context.stop`.
    """
    sinks = context.spec.sinks
    chosen = choose_places(context, has_open_rows=is_partial)
    places = [one.destination for one in chosen]
    rows, corrected = [0] * len(sinks), list[tuple[int, str]]()
    # This can take a while: there are many rows, a table is locked, or a bucket is far away.
    elsewhere = [str(place) for place in places if place.path is None]
    context.report("writing", f"writing to {', '.join(elsewhere)}" if elsewhere else "writing the outputs")
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
