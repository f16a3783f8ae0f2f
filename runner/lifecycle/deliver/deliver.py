"""Write outcomes to the outputs: one pass over the rows in input order, to all sinks at once.

The outputs depend only on the files of the run, so that writing them again gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner.errors import InputError, Interrupted
from runner.evaluation.check import make_evaluator
from runner.evaluation.evaluator import Evaluator
from runner.evaluation.score import Score
from runner.lifecycle.deliver.failures import FailureGroups
from runner.lifecycle.deliver.format_elsewhere import STOPPED, can_format_elsewhere, write_formatted
from runner.lifecycle.deliver.places import OutputPlace, choose_places
from runner.lifecycle.deliver.provenance import Provenance, make_request_digest
from runner.lifecycle.deliver.row_results import RowJudge, index_batches, read_stored_rows, verify_results
from runner.lifecycle.deliver.sink_group import SinkGroup, group_sinks
from runner.lifecycle.deliver.write_rows import Counts, RowWriter, needs_decoding
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.runs.summary import FailureGroup
from runner.spec.spec import Sink
from runner.store.run_folder import open_slices
from runner.text import pluralize


def _describe_output(sink: Sink, place: OutputPlace, rows: int, cuts: Mapping[str, int]) -> dict[str, Any]:
    """Return {type, path, rows} of an output, and what else there is to say of it."""
    found: dict[str, Any] = {"type": sink.type, "path": str(place.destination)}
    if sink.type == "sql":
        found["table"] = sink.options["table"]
    if place.instead_of is not None:
        found["instead_of"] = str(place.instead_of)
    return {**found, "rows": rows, **({"cut": dict(cuts)} if cuts else {})}


def _correct_outcomes(context: RunContext, corrected: list[tuple[int, str]]) -> None:
    """Record the outcomes of rows whose answers an older version judged in another way."""
    with context.store.transaction():
        context.store.correct_outcomes(context.run, dict(corrected))
    count = pluralize(len(corrected), "row")
    line = f"run {context.run.id}: {count} judged by today's rules, which an older version did not have"
    context.report("warning", line)


class Written(NamedTuple):
    """The outputs that were written, the failed rows in them by reason, and the scores of the evaluations."""

    sinks: list[dict[str, Any]]
    failures: list[FailureGroup]
    scores: list[Score]


def write_outputs(context: RunContext, output_format: OutputFormat, *, is_partial: bool = False) -> Written:
    """Write every sink and return {type, path, rows} of each; a file appears whole or not at all.

    SQL sinks also have `table`, and an output beside a complete one has the path of that one in `instead_of`.
    `cut` counts cells that were cut, by column, if there are any. In an unfinished run, `is_partial` leaves out
    rows that have no outcome yet.

    A sink that cannot be written keeps no other from being delivered. Raises InputError with the problems of those
    that failed, StateError if the files of the run are damaged, and Interrupted after `context.stop`.
    """
    # An unfinished run takes edits of these settings as they are.
    evaluator, sinks = make_evaluator(context.spec), context.spec.sinks
    chosen = choose_places(context, has_open_rows=is_partial)
    # This can take a while: there are many rows, a table is locked, or a bucket is far away.
    elsewhere = [str(one.destination) for one in chosen if one.destination.path is None]
    context.report("writing", f"writing to {', '.join(elsewhere)}" if elsewhere else "writing the outputs")
    groups = group_sinks(context.spec, chosen)
    try:
        failures = _write_groups(context, output_format, groups, evaluator, is_partial=is_partial)
    except BaseException as error:
        for group in groups:
            group.discard(error)
        raise
    if problems := [problem for group in groups for problem in group.problems]:
        raise InputError(problems)
    rows = {index: count for group in groups for index, count in group.rows.items()}
    cuts = {index: counter for group in groups for index, counter in group.cuts.items()}
    described = [
        _describe_output(sink, one, rows[index], cuts[index])
        for index, (sink, one) in enumerate(zip(sinks, chosen, strict=True))
    ]
    return Written(described, failures.largest_first(), evaluator.scores())


def _write_groups(
    context: RunContext,
    output_format: OutputFormat,
    groups: Sequence[SinkGroup],
    evaluator: Evaluator,
    *,
    is_partial: bool,
) -> FailureGroups:
    """Write all records to all groups, let the files appear, and then commit the tables."""
    counts, store, run = Counts(), context.store, context.run
    types = read_snapshot(store, run).types
    for group in groups:
        group.open(context.spec, types)
    verify_results(store, run)
    with open_slices() as files:
        provenance = Provenance(run.id, context.rate, make_request_digest(context, files))
        batches = index_batches(store, run)
        writer = RowWriter(
            RowJudge(run.id, output_format, batches),
            groups,
            evaluator,
            provenance.list_fields(context.spec),
            context.spec.variant,
            needs_decoding(context.spec),
        )
        rows = read_stored_rows(store, run, files, is_wanted=_has_outcome if is_partial else None)
        if can_format_elsewhere(context):
            write_formatted(context, rows, batches, writer, counts)
        else:
            for stored in rows:
                if context.stop.is_set():
                    raise Interrupted(STOPPED)
                writer.write(stored, counts)
    for group in groups:
        group.complete_files()
    for group in groups:
        group.commit()
    if counts.corrected:
        _correct_outcomes(context, counts.corrected)
    return counts.failures


def _has_outcome(recorded: str | None, _: str | int) -> bool:
    return recorded is not None
