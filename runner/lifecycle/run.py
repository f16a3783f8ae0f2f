"""Run a spec: check, plan, ask for consent, follow its batches, write its outputs."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import msgspec

from runner.api.client import Api
from runner.errors import CostCapReached, InputError, StateError, UsageError
from runner.lifecycle.deliver.deliver import write_outputs
from runner.lifecycle.follow.loop import follow_run
from runner.lifecycle.plan.plan import Plan, build_plan
from runner.lifecycle.prepare.prepare import prepare_first_round
from runner.lifecycle.prepare.validate import check_destinations, validate_spec
from runner.results.output_format import OutputFormat, build_output_format
from runner.runs.context import ProgressCallback, RunContext, ignore_progress
from runner.runs.project import find_output_root, open_client, with_simulated_paths, write_gitignore
from runner.runs.select import RunSelector
from runner.runs.snapshot import read_snapshot
from runner.runs.summary import Summary, summarize_run
from runner.sinks.check import check_destination
from runner.sinks.destination import Destination
from runner.spec.spec import Spec
from runner.store.store import open_store
from runner.text import pluralize

# Size of a short result with its ids and usage: once as received, and once in an output.
_RESULT_BYTES = 2 * 700


# A simulated batch takes about a second, and the simulator ends with the runner: no create can be late.
_SIMULATED_POLL, _SIMULATED_GRACE = 0.2, 2.0


Consent = bool | Callable[[Plan], bool]


def _check_disk_space(context: RunContext, plan: Plan) -> None:
    """Raise StateError if the disk certainly has no room for the results."""
    needed, free = plan.new * _RESULT_BYTES, shutil.disk_usage(context.store.path).free
    if free < needed:
        raise StateError(
            f"{context.store.path}: only {free:,} bytes are free, but {pluralize(plan.new, 'result')} need at "
            f"least {needed:,}; nothing was sent: free up space and run again"
        )


def _check_tables(context: RunContext, places: Sequence[Destination]) -> None:
    """Discard a prepared run and raise InputError if a table does not accept its column types."""
    types = read_snapshot(context.store, context.run).types
    tables = [index for index, sink in enumerate(context.spec.sinks) if sink.type == "sql"]
    unfit = [check_destination(context.spec, index, places[index], types) for index in tables]
    if problems := [problem for problem in unfit if problem]:
        context.store.delete_run(context.run)
        raise InputError(problems)


def _start_if_confirmed(context: RunContext, plan: Plan, consent: Consent) -> None:
    """Start a prepared run if sending it is agreed to.

    Otherwise discard it, and raise InputError for errors found by the rules, or UsageError without consent. Raises
    StateError if the disk is too full.
    """
    try:
        if errors := [finding.problem for finding in plan.findings if finding.severity == "error"]:
            raise InputError(errors)
        _check_disk_space(context, plan)
        is_agreed = consent(plan) if callable(consent) else consent
        if not (is_agreed or plan.new == 0 or context.spec.limits.max_cost is not None):
            raise UsageError("nothing was sent: the run was not confirmed")
    except (InputError, UsageError):
        context.store.delete_run(context.run)
        raise
    with context.store.transaction():
        # Only now, so that a new run that is declined, or killed before, leaves the unfinished run unchanged.
        for other in context.store.runs(context.run.spec):
            if other.number != context.run.number and other.state in ("running", "prepared"):
                context.store.update_run(other, state="abandoned")
        context.run = context.store.update_run(
            context.run, state="running", mode=plan.mode, estimated_cost=plan.estimated_cost
        )


def run(
    spec: Spec,
    *,
    simulate: bool = False,
    consent: Consent = False,
    wait: bool = True,
    limit: int | None = None,
    resume: bool = False,
    new: bool = False,
    accept_loss: bool = False,
    poll_seconds: float | None = None,
    report: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> Summary:
    """Run a spec to its end, or resume its unfinished run, and return the summary.

    `simulate` uses the bundled simulator instead of the API: nothing is paid, and state and outputs go below
    `simulated/`. Otherwise `consent` must be true, or a function that returns true for the Plan, before a run
    sends anything. A spec with `limits.max_cost` needs neither. `limit` is the maximum number of rows to read.

    An unfinished run continues if nothing has changed since it began. Otherwise `resume` finishes it with its
    original spec, and `new` starts over. A finished run sends nothing if nothing has changed: its outputs are
    written again, unless `new` is set. `accept_loss` ends rows whose results the API no longer has as missing.

    Without `wait`, or after `stop` is set, the summary may be that of an unfinished run: call again to continue.
    Raises a RunnerError (see `runner.errors` for its kinds).
    """
    spec = with_simulated_paths(spec) if simulate else spec
    # A run is resumed from its snapshot: its templates and input may be broken or missing by now.
    templates = None if resume else validate_spec(spec).templates
    stop = stop or Event()
    base = find_output_root(spec, simulate=simulate)
    if simulate:
        poll_seconds = poll_seconds or _SIMULATED_POLL
        spec = replace(
            spec,
            batch=replace(
                spec.batch,
                grace_seconds=min(spec.batch.grace_seconds, _SIMULATED_GRACE),
                on_unknown="resubmit",
            ),
        )
        write_gitignore(base)
    places = check_destinations(spec, base)
    try:
        with (
            open_store(base / ".runner") as store,
            open_client(store.path, simulate=simulate, betas=spec.betas) as api,
        ):
            found = RunSelector(spec, templates, limit, resume, new).select_run(store)
            if found is None:
                templates = templates or validate_spec(spec).templates
                prepared = prepare_first_round(spec, templates, store, limit=limit, stop=stop, report=report)
                context = RunContext(spec, store, prepared.run, base, report)
                is_agreed = consent if callable(consent) else simulate or consent
                _check_tables(context, places)
                _start_if_confirmed(context, build_plan(context, templates, prepared, api, store), is_agreed)
            else:
                context = RunContext(found[1], store, found[0], base, report)
            seconds = poll_seconds or spec.batch.poll_seconds
            return _complete_run(context, api, poll_seconds=seconds, wait=wait, accept_loss=accept_loss, stop=stop)
    except OSError as error:
        raise StateError(f"{error.filename or base}: {error.strerror or error}") from error


def _complete_run(context: RunContext, api: Api, *, stop: Event, **how: Any) -> Summary:
    form = build_output_format(context.spec.output)
    if context.run.purged_at is not None:
        context.report(
            f"run {context.run.id} is finished and nothing has changed; its rows and answers were purged"
        )
        return summarize_run(context.store, context.run)
    if context.run.state == "finished":
        lacks = context.store.outcome_counts(context.run).get("succeeded", 0) < context.run.rows
        hint = "; use --new to send the rows that did not succeed" if lacks else ""
        context.report(
            f"run {context.run.id} is finished and nothing has changed: writing its outputs again{hint}"
        )
        _finish_run(context, form)
        return summarize_run(context.store, context.run)
    count = len(context.store.batches(context.run))
    context.report(f"run {context.run.id}: {pluralize(context.run.rows, 'row')} in {pluralize(count, 'batch')}")
    try:
        is_done = follow_run(context, api, form, stop=stop, **how)
    except CostCapReached:
        written = write_outputs(context, form, is_partial=True)
        context.store.update_run(context.run, sinks=msgspec.json.encode(written).decode())
        raise
    if is_done:
        _finish_run(context, form)
        context.report(f"run {context.run.id}: finished")
    return summarize_run(context.store, context.run)


def _finish_run(context: RunContext, output_format: OutputFormat) -> None:
    written = msgspec.json.encode(write_outputs(context, output_format)).decode()
    finished_at = context.run.finished_at or time.time()
    context.run = context.store.update_run(context.run, state="finished", finished_at=finished_at, sinks=written)
