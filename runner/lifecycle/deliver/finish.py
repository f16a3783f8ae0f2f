"""Write the outputs of a run and record that it is finished, or write what there is so far."""

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from runner.evaluation.score import encode_scores
from runner.lifecycle.deliver.deliver import write_outputs
from runner.lifecycle.deliver.manifest import write_manifest
from runner.notify.record import record_finish
from runner.results.outcome_names import cannot_be_retried
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.summary import summarize_run
from runner.store.records import Run


def finish_run(context: RunContext, output_format: OutputFormat) -> None:
    """Write the outputs of a run whose rows all have their final outcome, and record that it is finished."""
    written = write_outputs(context, output_format)
    columns: dict[str, Any] = {
        "finished_at": context.run.finished_at or time.time(),
        "sinks": msgspec.json.encode(written.sinks).decode(),
        "failures": msgspec.json.encode(written.failures).decode(),
        "evaluation": encode_scores(written.scores),
    }
    is_new = context.run.state != "finished"
    run = replace(context.run, finished_at=columns["finished_at"], evaluation=columns["evaluation"])
    write_manifest(replace(context, run=run), summarize_run(context.store, run), written.sinks)
    with context.store.transaction():
        context.run = context.store.update_run(context.run, state="finished", **columns)
        if is_new:
            record_finish(context)


def _describe_time(run: Run) -> str:
    at = datetime.fromtimestamp(run.finished_at or run.created_at).astimezone()
    return f"on {at:%Y-%m-%d} at {at:%H:%M:%S} (UTC{at:%z})"


def rewrite_outputs(context: RunContext, output_format: OutputFormat) -> None:
    """Write the outputs of a finished run again, unless its rows and results were purged."""
    run = context.run
    before = f"run {run.id} had finished {_describe_time(run)}, and nothing has changed since: nothing was sent"
    if run.purged_at is not None:
        context.report("unchanged", f"{before}; its rows and answers were purged since")
        return
    outcomes = context.store.counts.read(run)
    has_failed_rows = outcomes.get("succeeded", 0) < run.rows
    hint = f"; `runner retry {run.id}` sends the failed rows again" if has_failed_rows else ""
    if cannot_be_retried(outcomes):
        hint = (
            f"; replace the files or rows that cannot be sent: `runner retry {run.id}` sends those with new files"
        )
    context.report("unchanged", f"{before}; its outputs are written again{hint}")
    finish_run(context, output_format)


def write_partial_outputs(context: RunContext, output_format: OutputFormat) -> None:
    """Write the outputs of the rows that have an outcome so far; the run goes on later."""
    written = write_outputs(context, output_format, is_partial=True)
    columns = {
        "sinks": msgspec.json.encode(written.sinks).decode(),
        "evaluation": encode_scores(written.scores),
    }
    context.run = context.store.update_run(context.run, **columns)
