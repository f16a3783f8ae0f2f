"""Start a prepared run if its plan is agreed to, or discard it with nothing sent."""

import shutil
from collections.abc import Callable
from threading import Event

from runner.api.client import Api
from runner.errors import InputError, Interrupted, StateError, UsageError
from runner.lifecycle.plan.plan import Plan
from runner.lifecycle.prepare.cached_prefix import decides_cache
from runner.lifecycle.prepare.remove_marks import remove_marks_of_run
from runner.runs.context import RunContext
from runner.runs.select import find_left_runs
from runner.text import pluralize

# Size of a short result with its ids and usage: once as received, and once in an output.
_RESULT_BYTES = 2 * 700

Consent = bool | Callable[[Plan], bool]
"""Consent to send: given or not, or a function that decides by the plan."""


def _check_disk_space(context: RunContext, plan: Plan) -> None:
    """Raise StateError if the disk certainly has no room for the results."""
    needed, free = plan.new * _RESULT_BYTES, shutil.disk_usage(context.store.path).free
    if free < needed:
        raise StateError(
            f"{context.store.path}: only {free:,} bytes are free, but the results of "
            f"{pluralize(plan.new, 'request')} need {needed:,}; nothing was sent: free up space and run again"
        )


def check_plan(context: RunContext, plan: Plan) -> None:
    """Raise InputError for errors found by the rules, or StateError if the disk is too full for the results."""
    if errors := [finding.problem for finding in plan.findings if finding.severity == "error"]:
        raise InputError(errors)
    _check_disk_space(context, plan)


def _check_consent(
    context: RunContext, plan: Plan, consent: Consent, refusal: str = "nothing was sent: the run was not confirmed"
) -> None:
    check_plan(context, plan)
    is_agreed = consent(plan) if callable(consent) else consent
    if not (is_agreed or plan.new == 0 or context.spec.limits.max_cost is not None):
        raise UsageError(refusal)


def start_if_confirmed(context: RunContext, plan: Plan, consent: Consent, stop: Event) -> None:
    """Start a prepared run if sending it is agreed to, and `stop` is not set.

    Otherwise discard it, and raise InputError for errors found by the rules, or UsageError without consent. Raises
    StateError if the disk is too full, and Interrupted after `stop` or from `consent`.
    """
    if stop.is_set():
        raise Interrupted("stopped before anything of the new run was sent")
    store = context.store
    try:
        _check_consent(context, plan, consent)
    except (InputError, UsageError, Interrupted):
        store.delete_run(context.run)
        raise
    if plan.cache is None and decides_cache(context.spec):
        remove_marks_of_run(context)
    with store.transaction():
        # Only now, so that a new run that is declined, or killed before, leaves the unfinished run unchanged.
        for other in [*store.runs(context.run.spec), *find_left_runs(store, context.spec)]:
            if other.number != context.run.number and other.state in ("running", "prepared"):
                store.update_run(other, state="abandoned")
        started = {"state": "running", "mode": plan.mode, "cache": plan.cache}
        context.run = store.update_run(context.run, **started, estimated_cost=plan.estimated_cost)


def resume_if_confirmed(context: RunContext, plan: Plan, consent: Consent, stop: Event, api: Api) -> None:
    """Let a recovered run send the requests that were not found, if that is agreed to.

    Otherwise it stays as it is: raises UsageError without consent, StateError if the disk is too full, and
    Interrupted after `stop` or from `consent`.
    """
    if stop.is_set():
        raise Interrupted("stopped before the recovered run sent anything")
    run, path = context.run, context.spec.path
    refusal = (
        f"nothing was sent: run {run.id} was recovered, but not confirmed. `runner run {path} --yes` sends "
        f"the rest; `runner cancel {run.id}` and then `runner run {path}` only collect the answers that were found"
    )
    _check_consent(context, plan, consent, refusal)
    context.run = context.store.update_run(run, started_at=api.now)
