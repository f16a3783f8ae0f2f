"""Retry a finished run: a new run sends its failed rows again, and takes over its good answers.

The rows are those that the finished run read, so nothing of the source is read, and new rows are not sent. A row
that succeeded keeps its answer although the prompt may have changed since.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

from runner.errors import UsageError
from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES
from runner.lifecycle.maintain.kept_rows import ALL_FAILED, RetryChoice, read_kept_rows
from runner.lifecycle.plan.consent import Consent
from runner.lifecycle.plan.plan import build_plan
from runner.lifecycle.prepare.change_reasons import find_default_reason
from runner.lifecycle.prepare.prepare import EarlierRows, prepare_first_round
from runner.lifecycle.prepare.reuse import keep_params_order
from runner.lifecycle.run import ReadyRun, follow_and_deliver
from runner.lifecycle.run_options import RunOptions
from runner.lifecycle.validate.checked_spec import CheckedSpec, check_spec
from runner.lifecycle.validate.destinations import check_tables, prove_destinations
from runner.notify.outbox import notify_of_end
from runner.results.output_format import build_output_format
from runner.runs.context import RunContext
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.find import RunInfo, find_runs, find_spec_path
from runner.runs.project import OpenAccounts, open_project
from runner.runs.select import RunSelector
from runner.runs.shared_cap import measure_spent
from runner.runs.snapshot import SpecSnapshot, read_snapshot, take_snapshot
from runner.runs.summary import Summary, summarize_run
from runner.sources.changed_files import find_changed_files
from runner.spec.record import make_record, spec_from_record
from runner.spec.spec import Spec
from runner.spec.spec_files import SPEC_SUFFIXES
from runner.spec.variant_names import split_name
from runner.store.records import Run
from runner.store.store import Store
from runner.templates.load import load_templates
from runner.text import pluralize


@dataclass(frozen=True, slots=True)
class RetryTarget:
    """A run to retry, the path of its spec, and the variant of it that was run, if it has some."""

    run_id: str
    spec_path: Path
    is_simulated: bool
    variant: str | None = None


def find_retry_target(target: str, *, simulate: bool) -> RetryTarget:
    """Return the run that `target` names (see `find_runs`): the newest one, real or simulated as asked.

    A run id decides itself whether the retry is simulated. Raises UsageError if there is no such run, or no
    file of its spec.
    """
    # A run that was killed before it was confirmed is discarded.
    found = [one for one in find_runs(target) if one.summary.state not in UNCONFIRMED_STATES]
    is_one_run = len(found) == 1 and found[0].summary.run.startswith(target)
    fitting = found if is_one_run else [one for one in found if one.is_simulated == simulate and not one.is_pilot]
    if is_one_run and found[0].is_pilot:
        raise UsageError(f"run {found[0].summary.run} is a pilot: after an edit, run `runner pilot` again")
    if not fitting or (simulate and not fitting[0].is_simulated):
        kind = "simulated" if simulate else "real"
        has_simulated = any(one.is_simulated and not one.is_pilot for one in found)
        hint = ": add --simulate to retry the simulated one" if has_simulated and not simulate else ""
        raise UsageError(f"{target} has no {kind} run to retry{hint}; `runner status` lists all runs")
    chosen = fitting[0]
    _check_one_variant(target, fitting)
    is_path = target.endswith(SPEC_SUFFIXES) and Path(target).exists()
    path = Path(target) if is_path else find_spec_path(chosen)
    return RetryTarget(chosen.summary.run, path, chosen.is_simulated, split_name(chosen.summary.spec)[1])


def _check_one_variant(target: str, found: Sequence[RunInfo]) -> None:
    """Raise UsageError if a target stands for the runs of several variants."""
    newest = {one.summary.spec: one.summary.run for one in reversed(found)}
    named = {spec: run for spec, run in newest.items() if split_name(spec)[1] is not None}
    if len(named) > 1 and split_name(found[0].summary.spec)[1] is not None:
        shown = ", ".join(f"{run} ({spec})" for spec, run in named.items())
        raise UsageError(f"{target} has variants: name the run of one of them: {shown}")


def retry(
    spec: Spec,
    run_id: str,
    choice: RetryChoice = ALL_FAILED,
    *,
    options: RunOptions,
    consent: Consent = False,
    note: Callable[[str], None] = lambda _: None,
    report: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> Summary:
    """Send the failed rows of a run again with the current spec, and return the summary of the new run.

    An unfinished retry of that run is resumed. `note` is called before `consent` with lines about what
    has changed since the run. The other arguments are those of `run`. Raises RunnerError.
    """
    stop = stop or Event()
    with notify_of_end(spec, simulate=options.simulate, stop=stop, report=report) as outbox:
        on_alarm = partial(outbox.send, spec)
        return _retry(
            spec, run_id, choice, options=options, consent=consent, note=note, report=report, stop=stop,
            on_alarm=on_alarm,
        )  # fmt: skip


def _retry(
    spec: Spec, run_id: str, choice: RetryChoice, *, options: RunOptions, consent: Consent,
    note: Callable[[str], None], report: ProgressCallback, stop: Event, on_alarm: Callable[[], None],
) -> Summary:  # fmt: skip
    """Retry a run as `retry` says."""
    simulate = options.simulate
    checked = check_spec(spec, simulate=simulate, resume=False)
    with open_project(checked.output_root, stop, simulate=simulate) as (store, open_accounts):
        store.hold(spec.name)
        newest = _find_newest(store, spec, run_id)
        context = RunContext(checked.spec, store, newest, checked.output_root, report, stop=stop)
        context.on_alarm = on_alarm
        is_good = newest.state == "finished" and _count_failed(store, newest) == 0
        if is_good and not _has_new_rules(store, newest, spec):
            context.report("unchanged", f"every row of run {newest.id} succeeded: there is nothing to retry")
            return summarize_run(store, newest)
        if newest.state == "finished":
            ready = _prepare_retry(checked, context, open_accounts, choice, note)
        else:
            ready = _resume(context, open_accounts)
            context.report("started", f"run {newest.id}, which retries another one, goes on as it was started")
        ready.start(consent if callable(consent) else simulate or consent, stop)
        return follow_and_deliver(ready, options, stop)


def _count_failed(store: Store, run: Run) -> int:
    return run.rows - store.counts.read(run).get("succeeded", 0)


def _has_new_rules(store: Store, run: Run, spec: Spec) -> bool:
    """Return whether answers are judged in another way than when the run was started."""
    before, now = read_snapshot(store, run).record, make_record(spec)
    return any(before.get(name) != now.get(name) for name in ("output", "output_schema"))


def _find_newest(store: Store, spec: Spec, run_id: str) -> Run:
    """Return the newest run of a spec: the one with this id, or one that retries it. Raises UsageError."""
    # Discards runs that were killed before anything was sent.
    RunSelector(spec, None, None, resume=False, new=True).select_run(store)
    by_id = {run.id: run for run in store.runs()}
    runs = (run for run in store.runs(spec.name) if run.state != "abandoned" and not run.is_pilot)
    newest = next(runs, None)
    if newest is None:
        raise UsageError(f"{spec.path} is named {spec.name!r}, and has no run")
    if newest.purged_at is not None:
        raise UsageError(f"the rows of run {newest.id} were purged: `runner run {spec.path} --new` sends all rows")
    snapshot = read_snapshot(store, newest)
    if newest.state != "finished" and snapshot.retries is None:
        raise UsageError(f"run {newest.id} is unfinished: first finish it with `runner run {spec.path}`")
    if run_id not in _find_ancestors(store, by_id, newest):
        raise UsageError(
            f"run {run_id} is not the newest run of {spec.name}, which is {newest.id}: retry that one, or use "
            f"`runner run {spec.path}`"
        )
    return newest


def _find_ancestors(store: Store, by_id: dict[str, Run], run: Run) -> Iterator[str]:
    """Yield the id of a run, of the run that it retries, and so on."""
    found: Run | None = run
    while found is not None:
        yield found.id
        before = read_snapshot(store, found).retries
        found = by_id.get(before) if before is not None else None


def _resume(context: RunContext, open_accounts: OpenAccounts) -> ReadyRun:
    """Return the unfinished run of a context, with the spec that it was started with."""
    selected = RunSelector(context.spec, None, None, resume=True, new=False).select_run(context.store)
    if selected is None:
        raise UsageError("the run to resume is no longer there: run the same command again")
    open_accounts(selected.spec)
    return ReadyRun(replace(context, spec=selected.spec, run=selected.run), open_accounts, None)


def _prepare_retry(
    checked: CheckedSpec,
    context: RunContext,
    open_accounts: OpenAccounts,
    choice: RetryChoice,
    note: Callable[[str], None],
) -> ReadyRun:
    """Prepare and plan a run that retries the finished one of a context. Nothing is sent."""
    store, run = context.store, context.run
    before = read_snapshot(store, run)
    # The rows stay those of that run, and with them the settings that chose them.
    spec = replace(checked.spec, source=spec_from_record(before.record, path=Path(), root=Path()).source)
    spec = keep_params_order(spec, store)
    # Before anything is prepared: it fails without a key.
    api = open_accounts(spec).find_reader()
    templates = load_templates(spec)
    prove_destinations(spec, checked.destinations)
    taken = take_snapshot(spec, templates, before.limit)
    start = replace(taken, inputs=before.inputs, types=before.types, retries=run.id)
    rows = read_kept_rows(store, run, build_output_format(spec.output), choice, path=spec.source.path)
    earlier = EarlierRows(rows, start)
    prepared = prepare_first_round(
        spec, templates, store, limit=before.limit, stop=context.stop, report=context.on_progress, earlier=earlier
    )
    context = replace(context, spec=spec, run=prepared.run)
    check_tables(context, checked.destinations)
    for line in _describe(checked.spec, before, start, run, prepared.reused):
        note(line)
    spent = measure_spent(store, spec, context.run)
    return ReadyRun(context, open_accounts, build_plan(context, templates, prepared, api, store, spent))


_CHANGES = {
    "prompt": "the prompt has changed since: only the rows that are sent again get the new one",
    "params": "the params have changed since: they are used only for the rows that are sent again",
    "schema": "the output schema has changed since: all answers were judged by it, and the good ones are kept",
}


def _describe(spec: Spec, before: SpecSnapshot, now: SpecSnapshot, run: Run, kept: int) -> Iterator[str]:
    """Yield what a retry takes from a run, and what has changed since."""
    yield f"retries run {run.id}, of which {pluralize(kept, 'good answer')} {'is' if kept == 1 else 'are'} kept"
    if (reason := find_default_reason(before, now)) in _CHANGES:
        yield _CHANGES[reason]
    if make_record(spec)["source"] != before.record["source"] or _find_changed_inputs(spec, before):
        yield (
            f"the source has changed since: the rows are sent as run {run.id} read them; new and edited rows are "
            f"sent by `runner run {spec.path}`"
        )


def _find_changed_inputs(spec: Spec, before: SpecSnapshot) -> bool:
    """Return whether the files of a source have changed; those of a query are not known."""
    if spec.source.is_query or spec.source.path == "-":
        return False
    is_limited = before.limit is not None or spec.source.limit is not None
    return bool(find_changed_files(spec.root, spec.source.path, before.inputs, is_limited=is_limited))
