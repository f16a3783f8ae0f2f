"""Runs from outside: find them by spec or id, real and simulated, and ask for one to be canceled."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.api import Api
from runner.errors import Refused, UsageError
from runner.lifecycle.execute import SIMULATED, connected
from runner.lifecycle.job import Summary, summarize
from runner.spec import load_spec, project_root
from runner.store import Run, Store, open_store

_SPEC_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Found:
    """A run, and the folder whose state holds it."""

    summary: Summary
    base: Path
    is_simulated: bool


def runs(target: str | None = None) -> Iterator[Found]:
    """The runs of the project around the working folder, newest first: all, or those of a spec or run id.

    Raises UsageError if `target` names none.
    """
    root, name = project_root(Path.cwd() / "spec"), None
    if target is not None and target.endswith(_SPEC_SUFFIXES):
        spec = load_spec(target)
        root, name = spec.root, spec.name
    found = [
        (run.created_at, Found(summary, base, base != root))
        for base in (root, root / SIMULATED)
        for run, summary in _runs(base)
        if target is None or target == run.id or name == run.spec
    ]
    if target is not None and not found:
        raise UsageError(f"no run of {target} in {root}: `runner status` lists all")
    for _, run in sorted(found, key=lambda pair: -pair[0]):
        yield run


def _runs(base: Path) -> list[tuple[Run, Summary]]:
    if not (base / ".runner" / "state.db").exists():
        return []
    with open_store(base / ".runner", lock=False) as store:
        return [(run, summarize(store, run)) for run in store.runs()]


def cancel(target: str) -> Summary:
    """Cancel the newest unfinished run of a spec, or the run with this id; return it as it is then.

    Batches in progress are asked to end, those not yet sent never are; `run` collects what has finished.
    Raises UsageError if there is nothing to cancel.
    """
    found = next((run for run in runs(target) if run.summary.state in ("prepared", "running", "abandoned")), None)
    if found is None:
        raise UsageError(f"no unfinished run of {target}: there is nothing to cancel")
    with (
        open_store(found.base / ".runner") as store,
        connected(store.path, simulate=found.is_simulated) as api,
    ):
        run = next(run for run in store.runs() if run.id == found.summary.run)
        _cancel(store, api, run)
        return summarize(store, store.update(run, is_canceled=True))


def _cancel(store: Store, api: Api, run: Run) -> None:
    # Recorded first: if this is killed half-way, what is not yet sent stays unsent.
    store.update(run, is_canceled=True)
    for batch in store.batches(run):
        if batch.state == "submitted" and batch.batch_id is not None:
            with suppress(Refused):  # it has ended meanwhile
                api.cancel(batch.batch_id)
