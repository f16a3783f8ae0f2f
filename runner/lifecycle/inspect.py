"""Runs from outside: find them by spec or id, real and simulated, and ask for one to be canceled."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from runner.api import Api
from runner.errors import ApiFault, Refused, UsageError
from runner.lifecycle.execute import SIMULATED, connected
from runner.lifecycle.job import Summary, name_of, summarize
from runner.spec import load_spec, project_root
from runner.store import Batch, Run, Store, open_store

_SPEC_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Found:
    """A run, and the folder whose state holds it.

    `ended_at` is in Unix seconds; as long as the run goes on, it is when it began.
    """

    summary: Summary
    base: Path
    is_simulated: bool
    ended_at: float


def runs(target: str | None = None) -> list[Found]:
    """The runs of the project around the working folder, newest first: all, or those of a spec or run id.

    Raises UsageError if `target` names none.
    """
    root, name = project_root(Path.cwd() / "spec"), None
    if target is not None and target.endswith(_SPEC_SUFFIXES):
        spec = load_spec(target)
        root, name = spec.root, spec.name
    found = [
        (run.created_at, Found(summary, base, base != root, run.finished_at or run.created_at))
        for base in (root, root / SIMULATED)
        for run, summary in _runs(base)
        if target is None or target == run.id or name == run.spec
    ]
    if target is not None and not found:
        raise UsageError(f"no run of {target} in {root}: `runner status` lists all")
    return [run for _, run in sorted(found, key=lambda pair: -pair[0])]


def _runs(base: Path) -> list[tuple[Run, Summary]]:
    if not (base / ".runner" / "state.db").exists():
        return []
    with open_store(base / ".runner", lock=False) as store:
        return [(run, summarize(store, run)) for run in store.runs()]


def one_run(target: str, *states: str) -> Found:
    """The newest run of a spec, or the run with this id; real ones go before simulated ones.

    With `states` only runs in one of these count. Raises UsageError if there is none.
    """
    fitting = [run for run in runs(target) if not states or run.summary.state in states]
    found = next(iter(sorted(fitting, key=lambda run: run.is_simulated)), None)
    if found is None:
        raise UsageError(f"no {' or '.join(states)} run of {target}: `runner status` lists all")
    return found


@contextmanager
def opened(found: Found) -> Iterator[tuple[Store, Run]]:
    """The store that holds a run, with the lock, and the run."""
    with open_store(found.base / ".runner") as store:
        yield store, next(run for run in store.runs() if run.id == found.summary.run)


def cancel(target: str) -> tuple[Found, list[str]]:
    """Cancel the newest unfinished run of a spec, or the run with this id; real ones go before simulated ones.

    Batches in progress are asked to end, those not yet sent never are; `run` collects what has finished. Returns
    the run as it is then, and a line on each batch that could not be asked. Raises UsageError if there is nothing
    to cancel.
    """
    found = one_run(target, "running", "canceling", "abandoned")
    with opened(found) as (store, run), connected(store.path, simulate=found.is_simulated) as api:
        # Recorded first: if this is killed half-way, what is not yet sent stays unsent.
        run = store.update(run, is_canceled=True)
        left = [line for batch in store.batches(run) if (line := _cancel(api, batch))]
        return replace(found, summary=summarize(store, run)), left


def _cancel(api: Api, batch: Batch) -> str | None:
    if batch.lane != "batch" or batch.state not in ("submitting", "submitted"):
        return None
    if batch.batch_id is None:
        return f"{name_of(batch)} is not canceled yet: which remote batch it is, the next run finds out"
    try:
        with suppress(Refused):  # it has ended meanwhile
            api.cancel(batch.batch_id)
    except ApiFault as error:
        return f"{name_of(batch)} is not canceled: {error}"
    return None
