"""Find real and simulated runs by spec or id."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.runs.project import SIMULATED_FOLDER
from runner.runs.summary import Summary, summarize_run
from runner.spec.load import find_project_root, load_spec
from runner.store.records import Run
from runner.store.store import Store, open_store

_SPEC_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, and the folder that holds its state.

    `ended_at` is in Unix seconds; while the run is unfinished, it is the time when the run began.
    """

    summary: Summary
    output_root: Path
    is_simulated: bool
    ended_at: float


def find_runs(target: str | None = None) -> list[RunInfo]:
    """Return the runs of the project around the working folder, newest first.

    With `target`, only the runs of this spec, or the run with this id. Raises UsageError if no run matches.
    """
    root, name = find_project_root(Path.cwd() / "spec"), None
    if target is not None and target.endswith(_SPEC_SUFFIXES):
        spec = load_spec(target)
        root, name = spec.root, spec.name
    found = [
        (run.created_at, RunInfo(summary, base, base != root, run.finished_at or run.created_at))
        for base in (root, root / SIMULATED_FOLDER)
        for run, summary in _read_runs(base)
        if target is None or target == run.id or name == run.spec
    ]
    if target is not None and not found:
        raise UsageError(f"no run of {target} in {root}: `runner status` lists all runs")
    return [run for _, run in sorted(found, key=lambda pair: -pair[0])]


def _read_runs(base: Path) -> list[tuple[Run, Summary]]:
    if not (base / ".runner" / "state.db").exists():
        return []
    with open_store(base / ".runner", lock=False) as store:
        return [(run, summarize_run(store, run)) for run in store.runs()]


def find_run(target: str, *states: str) -> RunInfo:
    """Return the newest run of a spec, or the run with this id.

    Real runs take precedence over simulated ones. With `states`, only runs in one of these states are considered.
    Raises UsageError if no run matches.
    """
    fitting = [run for run in find_runs(target) if not states or run.summary.state in states]
    found = next(iter(sorted(fitting, key=lambda run: run.is_simulated)), None)
    if found is None:
        raise UsageError(f"no {' or '.join(states)} run of {target}: `runner status` lists all runs")
    return found


@contextmanager
def open_run(run_info: RunInfo) -> Iterator[tuple[Store, Run]]:
    """Open the store that holds a run, with its lock; yield the store and the run."""
    with open_store(run_info.output_root / ".runner") as store:
        yield store, next(run for run in store.runs() if run.id == run_info.summary.run)
