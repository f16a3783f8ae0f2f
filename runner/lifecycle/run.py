"""Run a spec: validate, select the run, prepare, plan, ask for consent, follow its batches, deliver."""

from threading import Event

from runner.api.client import Api
from runner.errors import CostCapReached, RetriesStopped
from runner.lifecycle.deliver.finish import finish_run, rewrite_outputs, write_partial_outputs
from runner.lifecycle.follow.check_files import check_run_files
from runner.lifecycle.follow.loop import follow_run
from runner.lifecycle.plan.consent import Consent, start_if_confirmed
from runner.lifecycle.plan.plan import build_plan
from runner.lifecycle.prepare.prepare import prepare_first_round
from runner.lifecycle.prepare.validate import check_destinations, check_tables, validate_spec
from runner.results.output_format import build_output_format
from runner.runs.context import ProgressCallback, RunContext, ignore_progress
from runner.runs.project import make_output_root, open_project, simulated_spec
from runner.runs.select import RunSelector
from runner.runs.summary import Summary, summarize_run
from runner.spec.spec import Spec
from runner.text import pluralize


def _follow_and_deliver(
    context: RunContext,
    api: Api,
    poll_seconds: float,
    stop: Event,
    *,
    wait: bool,
    accept_loss: bool,
    is_resumed: bool,
) -> None:
    output_format, run = build_output_format(context.spec.output), context.run
    if run.state == "finished" or run.purged_at is not None:
        rewrite_outputs(context, output_format)
        return
    count = len(context.store.batches(run))
    context.report(f"run {run.id}: {pluralize(run.rows, 'row')} in {pluralize(count, 'batch')}")
    check_run_files(context)
    how = {"wait": wait, "accept_loss": accept_loss, "is_resumed": is_resumed}
    try:
        is_done = follow_run(context, api, output_format, poll_seconds=poll_seconds, stop=stop, **how)
    except CostCapReached:
        write_partial_outputs(context, output_format)
        raise
    except RetriesStopped:
        finish_run(context, output_format)
        raise
    if is_done:
        finish_run(context, output_format)
        context.report(f"run {run.id}: finished")


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
    overwrite: bool = False,
    poll_seconds: float | None = None,
    report: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> Summary:
    """Run a spec to its end, or resume its unfinished run, and return the summary.

    Before anything is sent, `consent` must be true, or a function that returns true for the Plan, unless the
    spec has `limits.max_cost`. With `simulate` nothing is paid. `limit` is the most rows to read. If an
    unfinished run differs from the files, `resume` finishes it as it was and `new` starts over. `accept_loss`
    ends rows of lost results as missing. With `overwrite` a partial run replaces complete outputs. Without
    `wait`, or after `stop`, call again. Raises RunnerError.
    """
    stop, spec = stop or Event(), simulated_spec(spec) if simulate else spec
    templates = None if resume else validate_spec(spec).templates  # a resumed run has its own, in its snapshot
    root = make_output_root(spec, simulate=simulate)
    destinations = check_destinations(spec, root)
    with open_project(root, stop, simulate=simulate, betas=spec.betas) as (store, api):
        if selected := RunSelector(spec, templates, limit, resume, new).select_run(store):
            context = RunContext(selected[1], store, selected[0], root, report, overwrite)
        else:
            templates = templates or validate_spec(spec).templates
            prepared = prepare_first_round(spec, templates, store, limit=limit, stop=stop, report=report)
            context = RunContext(spec, store, prepared.run, root, report, overwrite)
            check_tables(context, destinations)
            plan = build_plan(context, templates, prepared, api, store)
            start_if_confirmed(context, plan, consent if callable(consent) else simulate or consent, stop)
        how = {"wait": wait, "accept_loss": accept_loss, "is_resumed": bool(selected)}
        _follow_and_deliver(context, api, poll_seconds or spec.batch.poll_seconds, stop, **how)
        return summarize_run(store, context.run)
