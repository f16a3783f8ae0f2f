"""The pilot of a spec: a sample that must be good before the whole job is begun."""

from runner.errors import PilotMissed
from runner.runs.context import RunContext
from runner.runs.select import RunSelector
from runner.runs.summary import Summary, summarize_run
from runner.sources.changed_files import is_read_once
from runner.spec.pilot import make_pilot_spec
from runner.spec.spec import Spec
from runner.store.store import Store
from runner.templates.templates import Templates
from runner.text import pluralize


def needs_pilot(spec: Spec, templates: Templates, store: Store, *, is_skipped: bool) -> bool:
    """Return whether a new run of a spec begins with its pilot, because none was finished for it as it is now.

    A canceled pilot without enough answers is no verdict. Raises PilotMissed if one was finished otherwise, and is
    not good enough.
    """
    if spec.pilot is None or spec.source.pilot is not None or is_skipped:
        return False
    if not spec.source.is_given and is_read_once(spec.root, spec.source.path):
        # The rows could not be read again.
        return False
    made = make_pilot_spec(spec, spec.pilot)
    found = RunSelector(made, templates, None, resume=False, new=False).find_finished(store)
    if found is None:
        return True
    missed = _find_miss(spec, summarize_run(store, found.run))
    if missed is not None and not found.run.is_canceled:
        raise missed
    return missed is not None


def is_pilot_due(spec: Spec, templates: Templates, store: Store, *, limit: int | None) -> bool:
    """Return whether the next run of a spec is a new pilot, unless one that is unfinished comes first."""
    if any(run.state == "running" for run in store.runs(spec.name)):
        return False
    try:
        return needs_pilot(spec, templates, store, is_skipped=limit is not None)
    except PilotMissed:
        return False


def describe_pilot(spec: Spec, templates: Templates, store: Store, *, rows: int, limit: int | None) -> str:
    """Return what a run of a spec does first because of its `pilot`; an empty text if it sends all `rows`."""
    unfinished = next((run for run in store.runs(spec.name) if run.state == "running"), None)
    if unfinished is not None and not unfinished.is_pilot:
        return ""
    try:
        is_needed = needs_pilot(spec, templates, store, is_skipped=limit is not None)
    except PilotMissed as error:
        return str(error)
    if not is_needed or spec.pilot is None:
        return ""
    most = f"at most {spec.max_failed_in_pilot * 100:g}% of it fail"
    scores = " and no score is too low" if spec.evaluate else ""
    sample = f"a sample of {pluralize(min(spec.pilot.rows, rows), 'row')} is sent first"
    if unfinished is not None:
        sample = f"run {unfinished.id} is finished first, which is one"
    return f"{sample}, and the others if {most}{scores}"


def check_pilot(context: RunContext, summary: Summary) -> None:
    """Report that a finished pilot is good enough. Raises PilotMissed if it is not."""
    missed = _find_miss(context.spec, summary)
    if missed is not None and context.run.is_canceled:
        raise PilotMissed(
            f"the pilot {summary.run} was canceled, so it says nothing about the job, and nothing else was sent: "
            "run again to begin a new pilot, which takes over its answers, or with --skip-pilot to send all rows"
        )
    if missed is not None:
        raise missed
    succeeded = summary.outcomes.get("succeeded", 0)
    line = f"the pilot is good enough: {succeeded:,} of {pluralize(summary.rows, 'row')} succeeded"
    context.report("round", f"{line}; the whole job follows")


def _find_miss(spec: Spec, summary: Summary) -> PilotMissed | None:
    """Return why a finished pilot is not good enough, or None if it is."""
    failed = summary.rows - summary.outcomes.get("succeeded", 0)
    missed = [score for score in summary.evaluation or () if score.is_missed]
    if failed > spec.max_failed_in_pilot * summary.rows:
        why, option = f"{failed:,} of {pluralize(summary.rows, 'row')} failed", "--failed"
    elif missed:
        shares = (f"{one.name} {one.accuracy or 0:.1%}, below {one.min_accuracy or 0:.0%}" for one in missed)
        why, option = "; ".join(shares), "--wrong"
    else:
        return None
    return PilotMissed(
        f"the pilot {summary.run} is not good enough: {why}. Nothing else was sent: `runner show {summary.run} "
        f"{option}` shows the rows. Run again after an edit, or with --skip-pilot to send the whole job anyway"
    )
