"""Find the run before a run, and what has changed since."""

from contextlib import suppress

from runner.errors import StateError, UsageError
from runner.lifecycle.deliver.row_results import read_row_results, recorded_output_format
from runner.lifecycle.diff.diff import diff_runs
from runner.report.collect import make_field_counter, read_recorded_spec
from runner.report.figures import Earlier, FieldFigures
from runner.runs.find import RunInfo
from runner.runs.project import is_simulated_state
from runner.runs.summary import summarize_run
from runner.store.records import Run
from runner.store.run_folder import open_slices
from runner.store.store import Store


def describe_run(store: Store, run: Run) -> RunInfo:
    """Return a run with the folder that holds its state."""
    root, ended_at = store.path.parent, run.finished_at or run.created_at
    is_simulated, is_purged = is_simulated_state(store.path), run.purged_at is not None
    return RunInfo(summarize_run(store, run), root, is_simulated, ended_at, run.is_pilot, is_purged)


def read_earlier(store: Store, run: Run) -> Earlier | None:
    """Compare a run with the last one of its spec that finished before it; return None if no run did.

    A pilot is compared with no run, and no run with a pilot.
    """
    fitting = [
        other
        for other in store.runs(run.spec)
        if other.number < run.number
        and other.state == "finished"
        and other.purged_at is None
        and not other.is_pilot
    ]
    if not fitting or run.is_pilot or run.purged_at is not None:
        return None
    before = max(fitting, key=lambda other: other.number)
    # The report is about the later run: it must not fail for the earlier one.
    with suppress(UsageError, StateError, OSError):
        found = diff_runs(describe_run(store, before), describe_run(store, run))
        summary = summarize_run(store, before)
        fields = _read_fields(store, before)
        return Earlier(before.id, before.created_at, before.rows, summary.outcomes, fields, found)
    return None


def _read_fields(store: Store, run: Run) -> list[FieldFigures]:
    counter = make_field_counter(read_recorded_spec(store, run))
    output_format = recorded_output_format(store, run)
    with open_slices() as files:
        rows = read_row_results(store, run, output_format, files, is_wanted=lambda name, _: name == "succeeded")
        for found in rows:
            if found.outcome is not None and found.outcome.outcome == "succeeded":
                counter.add(found.outcome.output)
    return counter.figures()
