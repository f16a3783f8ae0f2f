"""Run a spec: validate, select the run, prepare, plan, ask for consent, follow its batches, deliver.

The steps before anything is sent end in a `ReadyRun`, a value that can be shown, started or discarded.
"""

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Any

from runner.errors import CostCapReached, FileChanged, Interrupted, RetriesStopped, RunnerError
from runner.lifecycle.deliver.failures import summarize_with_failures
from runner.lifecycle.deliver.finish import finish_run, rewrite_outputs, write_partial_outputs
from runner.lifecycle.follow.check_files import check_run_files
from runner.lifecycle.follow.loop import follow_run
from runner.lifecycle.plan.consent import Consent, resume_if_confirmed, start_if_confirmed
from runner.lifecycle.plan.plan import Plan, build_plan
from runner.lifecycle.prepare.prepare import prepare_first_round
from runner.lifecycle.run_options import RunOptions, to_choice
from runner.lifecycle.send.recovered_plan import plan_unconfirmed
from runner.lifecycle.validate.checked_spec import CheckedSpec, check_spec
from runner.lifecycle.validate.checks import validate_spec
from runner.lifecycle.validate.destinations import check_destinations, check_tables, prove_destinations
from runner.notify.outbox import Outbox, notify_of_end
from runner.report.write import write_spec_report
from runner.results.output_format import OutputFormat, build_output_format
from runner.runs.choose_specs import check_only_owner
from runner.runs.context import RunContext
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.pilot_gate import check_pilot, needs_pilot
from runner.runs.project import OpenAccounts, find_state, open_project
from runner.runs.select import RunSelector, has_unfinished_run
from runner.runs.shared_cap import measure_spent
from runner.runs.snapshot import record_labels
from runner.runs.summary import Progress, Summary, measure_progress, summarize_run
from runner.spec.pilot import make_pilot_spec
from runner.spec.spec import Spec
from runner.store.lock import read_clock
from runner.store.run_batches import IN_FLIGHT
from runner.store.store import Store
from runner.telemetry.trace import trace_run
from runner.text import pluralize


@dataclass(frozen=True, slots=True)
class ReadyRun:
    """A run of which nothing more is to be decided but whether to send it.

    `plan` says what a new run sends and costs, or the rest of a recovered one. It is None for a run that was
    confirmed before: it goes on, or only its outputs are written again. If `is_outdated`, a new run follows it,
    because its spec or files have changed. If `is_pilot`, the run of the whole job follows it.
    """

    context: RunContext
    open_accounts: OpenAccounts
    plan: Plan | None
    is_outdated: bool = False
    is_pilot: bool = False

    @property
    def is_followed(self) -> bool:
        """True if another run of the spec follows this one."""
        return self.is_outdated or self.is_pilot

    @property
    def is_new(self) -> bool:
        """True if the run was prepared by this process."""
        return self.plan is not None and self.context.run.recovered_at is None

    @property
    def is_over(self) -> bool:
        """True if only the outputs of the run are written again."""
        return self.context.run.state == "finished" or self.context.run.purged_at is not None

    @property
    def has_in_flight(self) -> bool:
        """True if some of its batches were sent, and their results are not collected yet."""
        return self.context.store.run_batches(self.context.run).count(*IN_FLIGHT) > 0

    def start(self, consent: Consent, stop: Event) -> None:
        """Start a run if its plan is agreed to. Otherwise a new one is discarded, and a recovered one kept."""
        if self.plan is None:
            return
        if self.is_new:
            start_if_confirmed(self.context, self.plan, consent, stop)
        else:
            resume_if_confirmed(
                self.context, self.plan, consent, stop, self.open_accounts(self.context.spec).find_reader()
            )

    def discard(self) -> None:
        """Delete a new run that was not started."""
        if self.is_new:
            self.context.store.delete_run(self.context.run)


def prepare_run(
    checked: CheckedSpec, store: Store, open_accounts: OpenAccounts, options: RunOptions, *,
    report: ProgressCallback, stop: Event, planned: Collection[str] = (),
) -> ReadyRun:  # fmt: skip
    """Select the run to resume, or prepare and plan a new one. Nothing is sent.

    `planned` are the names of the specs that are planned with it.
    """
    limit, overwrite = options.limit, options.overwrite
    spec, root, templates = checked.spec, checked.output_root, checked.templates
    store.hold(spec.name)
    check_only_owner(spec, store)
    if checked.error is not None and not has_unfinished_run(store, spec.name):
        raise checked.error
    resume = options.resume or checked.error is not None
    selector = RunSelector(spec, templates, limit, resume, options.new, to_choice(options.pending))
    if selected := selector.select_run(store):
        context = RunContext(selected.spec, store, selected.run, root, report, overwrite, stop, options.jobs)
        ready = ReadyRun(context, open_accounts, None, selected.is_outdated or checked.error is not None)
        if not ready.is_over:
            open_accounts(selected.spec)
        return replace(ready, plan=plan_unconfirmed(context))
    # Before the rows are read: it fails without a key.
    api = open_accounts(spec).find_reader()
    templates, destinations = templates or validate_spec(spec).templates, checked.destinations
    is_pilot = needs_pilot(spec, templates, store, is_skipped=options.skip_pilot or limit is not None)
    if is_pilot and spec.pilot is not None:
        spec = make_pilot_spec(spec, spec.pilot)
        destinations = check_destinations(spec, root)
    prove_destinations(spec, destinations)
    how: dict[str, Any] = {"limit": limit, "jobs": options.jobs, "stop": stop, "report": report}
    prepared = prepare_first_round(spec, templates, store, **how)
    context = RunContext(spec, store, prepared.run, root, report, overwrite, stop, options.jobs)
    _warn_of_new_project(context)
    check_tables(context, destinations)
    spent = measure_spent(store, spec, context.run, planned=planned, is_pilot_due=context.run.is_pilot)
    made = build_plan(context, templates, prepared, api, store, spent)
    return ReadyRun(context, open_accounts, made, is_pilot=is_pilot)


def _warn_of_new_project(context: RunContext) -> None:
    """Report that the first run of a project is among those of others: its name may be a mistake."""
    store, place = context.store, find_state(context.output_root)
    if place.is_shared and len(store.runs()) == 1 and (others := store.list_other_projects()):
        line = f"{place} has no other runs, but the database has {', '.join(map(repr, others))}"
        context.report("warning", f"warning: {line}: if one of these is meant, set `project`")


def follow_and_deliver(
    ready: ReadyRun, options: RunOptions, stop: Event, *, wait_until: float = math.inf, is_again: bool = False
) -> Summary:
    """Follow the batches of a started run and write its outputs; return how it stands then.

    It waits at most until the time `wait_until` of `read_clock`. `is_again` means that this process has followed
    the run before. An error that stops the run is reported before it is raised.
    """
    try:
        return _follow_and_deliver(ready, options, stop, wait_until=wait_until, is_again=is_again)
    except RunnerError as error:
        ready.context.report("stopped", str(error), summary=_summarize(ready.context))
        raise


def follow_or_go_on(ready: ReadyRun, options: RunOptions, stop: Event, **how: Any) -> Summary:
    """Follow a run as `follow_and_deliver` does, but let its changes be run though its retries were stopped."""
    try:
        return follow_and_deliver(ready, options, stop, **how)
    except RetriesStopped as error:
        if not ready.is_outdated:
            raise
        context, stopped = ready.context, str(error).partition("\n")[0]
        line = f"{stopped}; `runner show {context.run.id} --failed` shows them. A new run starts on the changes"
        context.report("warning", line)
        return _summarize(context)


def _summarize(context: RunContext) -> Summary:
    is_finished = context.run.state == "finished"
    return (summarize_with_failures if is_finished else summarize_run)(context.store, context.run)


def _measure(context: RunContext) -> Progress:
    return measure_progress(context.store, context.run)


def _follow_and_deliver(
    ready: ReadyRun, options: RunOptions, stop: Event, *, wait_until: float, is_again: bool
) -> Summary:
    context, run = ready.context, ready.context.run
    output_format = build_output_format(context.spec.output)
    if ready.is_over:
        rewrite_outputs(context, output_format)
    else:
        if not is_again:
            record_labels(context.store, run, context.spec.labels)
            is_sync = ready.plan is not None and ready.plan.mode == "sync"
            batches = pluralize(len(context.store.batches(run)), "batch")
            how_sent = "sent synchronously" if is_sync else f"in {batches}"
            context.report("started", f"run {run.id}: {pluralize(run.rows, 'row')} {how_sent}")
        check_run_files(context)
        measure = partial(_measure, context)
        with trace_run(context.spec, run, measure, is_simulated=context.is_simulated):
            _follow(ready, options, output_format, stop, wait_until)
    if not stop.is_set():
        write_spec_report(context)
    if ready.is_pilot and context.run.state == "finished":
        check_pilot(context, summarize_run(context.store, context.run))
    return _summarize(context)


def _follow(
    ready: ReadyRun, options: RunOptions, output_format: OutputFormat, stop: Event, wait_until: float
) -> None:
    context = ready.context
    try:
        is_done = follow_run(
            context,
            ready.open_accounts(context.spec),
            output_format,
            poll_seconds=options.poll_seconds or context.spec.batch.poll_seconds,
            stop=stop,
            wait=options.wait,
            wait_until=wait_until,
            accept_loss=options.accept_loss,
            is_resumed=not ready.is_new,
        )
    except (CostCapReached, FileChanged):
        write_partial_outputs(context, output_format)
        write_spec_report(context)
        raise
    except RetriesStopped:
        finish_run(context, output_format)
        write_spec_report(context)
        raise
    if is_done:
        with suppress(Interrupted):
            finish_run(context, output_format)
            context.report("finished", f"run {context.run.id}: finished")


def _follow_confirmed(
    ready: ReadyRun, options: RunOptions, consent: Consent, stop: Event, *, wait_until: float
) -> Summary:
    """Follow a run; if it was recovered, ask again before it sends a round that was not found."""
    summary = follow_or_go_on(ready, options, stop, wait_until=wait_until)
    while not stop.is_set() and (plan := plan_unconfirmed(ready.context)) is not None:
        ready = replace(ready, plan=plan)
        ready.start(consent, stop)
        summary = follow_or_go_on(ready, options, stop, wait_until=wait_until, is_again=True)
    return summary


def _run(
    spec: Spec, options: RunOptions, *, consent: Consent, report: ProgressCallback, stop: Event, outbox: Outbox
) -> Summary:
    """Run a spec as `run` says."""
    simulate = options.simulate
    is_patient = options.pending == "finish" and not options.new
    checked = check_spec(spec, simulate=simulate, resume=options.resume, finish_pending=is_patient)
    agreed = consent if callable(consent) else simulate or consent
    with open_project(checked.output_root, stop, simulate=simulate) as (store, open_accounts):
        ready = prepare_run(checked, store, open_accounts, options, report=report, stop=stop)
        ready.context.on_alarm = partial(outbox.send, spec)
        ready.start(agreed, stop)
        wait_until = math.inf if options.max_wait is None else read_clock() + options.max_wait
        if ready.is_outdated:
            line = f"run {ready.context.run.id} is finished as it began; then a new run starts on the changes"
            ready.context.report("started", line)
        summary = _follow_confirmed(ready, options, agreed, stop, wait_until=wait_until)
        # At most the changes, the pilot for them, and the whole job.
        while ready.is_followed and summary.state == "finished" and not stop.is_set():
            checked = check_spec(spec, simulate=simulate, resume=False)
            skip_pilot = options.skip_pilot or ready.is_pilot
            changes = replace(options, resume=False, new=False, pending="ask", skip_pilot=skip_pilot)
            outbox.send(spec)
            ready = prepare_run(checked, store, open_accounts, changes, report=report, stop=stop)
            ready.context.on_alarm = partial(outbox.send, spec)
            ready.start(agreed, stop)
            summary = follow_and_deliver(ready, changes, stop, wait_until=wait_until)
        return summary


def run(
    spec: Spec,
    options: RunOptions,
    *,
    consent: Consent = False,
    report: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> Summary:
    """Run a spec to its end, or resume its unfinished run, and return the summary.

    Before anything is sent, `consent` must be true, or a function that returns true for the Plan, unless the spec
    has `limits.max_cost` or the run is simulated. After `stop` is set, call again. Raises RunnerError.
    """
    stop = stop or Event()
    with notify_of_end(spec, simulate=options.simulate, stop=stop, report=report) as outbox:
        return _run(spec, options, consent=consent, report=report, stop=stop, outbox=outbox)
