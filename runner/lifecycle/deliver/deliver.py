"""Write outcomes to the outputs: one pass over the rows in input order, to all sinks at once.

The outputs depend only on the files of the run, so that writing them again gives the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from runner.errors import InputError, Interrupted
from runner.evaluation.check import make_evaluator
from runner.evaluation.evaluator import Answer, Evaluator
from runner.evaluation.score import Score
from runner.lifecycle.deliver.failures import FailureGroups
from runner.lifecycle.deliver.places import OutputPlace, choose_places
from runner.lifecycle.deliver.provenance import Provenance
from runner.lifecycle.deliver.row_results import build_record, read_row_results, verify_results
from runner.lifecycle.deliver.sink_group import SinkGroup, group_sinks
from runner.results.outcome import Outcome
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.runs.summary import FailureGroup
from runner.spec.spec import Sink
from runner.store.run_folder import FileSlices, open_slices
from runner.text import pluralize

_MISSING = Outcome(
    "", "missing", error={"type": "missing", "message": "the API returned no result for this request"}
)


def _build_records(
    context: RunContext,
    output_format: OutputFormat,
    files: FileSlices,
    failures: FailureGroups,
    evaluator: Evaluator,
    *,
    decoded: bool,
    is_partial: bool,
) -> Iterator[tuple[int, str | None, dict[str, Any]]]:
    """Yield the number, recorded outcome and record of each row in order, and count failed and right ones.

    `row` and `usage` in the record stay raw JSON unless `decoded`.
    """

    def is_wanted(recorded: str | None, _: str | int) -> bool:
        return recorded is not None or not is_partial

    variant = context.spec.variant
    rows = context.store.row_index.make_finder(context.run, files)
    provenance = Provenance(context, files, rows).list_fields()
    for found in read_row_results(context.store, context.run, output_format, files, is_wanted=is_wanted):
        if context.stop.is_set():
            raise Interrupted("stopped while the outputs were written: they stay as they were")
        outcome = found.outcome or _MISSING
        record = build_record(found, outcome)
        record["variant"], record["citations"] = variant, outcome.citations
        record |= {name: compute(found, outcome) for name, compute in provenance.items()}
        fields = msgspec.json.decode(found.fields) if decoded or evaluator else {}
        answer = Answer(found.key, fields, outcome.output, is_valid=outcome.outcome == "succeeded")
        record["wrong"] = evaluator.add_row(answer)
        if decoded:
            record["row"] = fields
            usage = record["usage"]
            record["usage"] = msgspec.json.decode(usage) if usage is not None else None
        failures.add(found.key, record["reason"], outcome)
        yield found.number, found.recorded, record


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
    types, corrected = read_snapshot(context.store, context.run).types, list[tuple[int, str]]()
    failures = FailureGroups()
    for group in groups:
        group.open(context.spec, types)
    decoded = any(sink.columns or sink.type not in ("csv", "jsonl") for sink in context.spec.sinks)
    verify_results(context.store, context.run)
    with open_slices() as files:
        how = {"decoded": decoded, "is_partial": is_partial}
        for number, name, record in _build_records(context, output_format, files, failures, evaluator, **how):
            if record["outcome"] != (name or "missing"):
                corrected.append((number, record["outcome"]))
            for group in groups:
                group.write(record)
    for group in groups:
        group.complete_files()
    for group in groups:
        group.commit()
    if corrected:
        _correct_outcomes(context, corrected)
    return failures
