"""Sum up what the runs of a project cost, in groups."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from runner.errors import StateError
from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES
from runner.results.usage import Usage
from runner.runs.project import SIMULATED_FOLDER, find_state
from runner.runs.snapshot import read_labels, read_snapshot
from runner.spec.spec_files import find_project_root
from runner.store.open_store import open_store
from runner.store.records import Batch, Run
from runner.store.run_batches import decode_column
from runner.store.store import Store

NO_LABEL, NO_MODEL = "(none)", "(unknown)"

_IN_FLIGHT = ("submitting", "submitted", "ended")


class RunCost(NamedTuple):
    """Costs of one run, in US dollars; an amount is None if a part of it is unknown.

    `doubted` is the most that creates may have cost which got no answer. `in_flight` counts the batches that were
    sent and are not collected yet: they are no part of what was paid.
    """

    run: Run
    paid: float | None
    estimated: float | None
    saved: float | None
    doubted: float
    in_flight: int


@dataclass(slots=True)
class Amount:
    """The sum of the amounts that are known, None if none is, and the number of runs of which it is unknown."""

    known: float | None = None
    unknown: int = 0

    def add(self, dollars: float | None) -> None:
        """Add the amount of a run."""
        if dollars is None:
            self.unknown += 1
        else:
            self.known = round((self.known or 0.0) + dollars, 6)


@dataclass(slots=True)
class CostGroup:
    """The costs of the runs of one spec, model, day or label.

    `saved` is what synchronous requests would have cost more.
    """

    name: str
    runs: int = 0
    rows: int = 0
    paid: Amount = field(default_factory=Amount)
    estimated: Amount = field(default_factory=Amount)
    saved: Amount = field(default_factory=Amount)
    doubted: float = 0.0
    in_flight: int = 0

    def add(self, cost: RunCost) -> None:
        """Add a run."""
        self.runs += 1
        self.rows += cost.run.rows
        self.paid.add(cost.paid)
        self.estimated.add(cost.estimated)
        self.saved.add(cost.saved)
        self.doubted = round(self.doubted + cost.doubted, 6)
        self.in_flight += cost.in_flight


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of a project: groups, and their total. `since` is in Unix seconds, or None."""

    by: str
    since: float | None
    is_simulated: bool
    groups: list[CostGroup]
    total: CostGroup


def _was_sent(batch: Batch) -> bool:
    return batch.batch_id is not None or batch.counts != "{}"


def _is_unknown(batch: Batch) -> bool:
    """Return whether the cost of an answered batch is not known: no price, lost results, or unreadable usage."""
    if batch.state != "collected" or not _was_sent(batch):
        return False
    return batch.cost is None or bool(decode_column(batch.usage, Usage).unreadable)


def _measure_cost(store: Store, run: Run) -> RunCost:
    batches = store.batches(run)
    paid = sum(batch.cost or 0.0 for batch in batches)
    synchronous = sum(batch.synchronous_cost or 0.0 for batch in batches)
    is_unknown = any(map(_is_unknown, batches))
    return RunCost(
        run,
        paid=None if is_unknown else paid,
        # A run that took all of its answers from others has no estimate, and needs none.
        estimated=run.estimated_cost if batches else 0.0,
        saved=None if is_unknown else synchronous - paid,
        doubted=sum(batch.doubted_cost for batch in batches),
        in_flight=sum(batch.state in _IN_FLIGHT for batch in batches),
    )


def _started_at(run: Run) -> float:
    return run.started_at or run.created_at


def _find_model(store: Store, run: Run) -> str:
    try:
        return str(read_snapshot(store, run).record["params"]["model"])
    except StateError:
        return NO_MODEL


def _name_group(by: str) -> Callable[[Store, Run], str]:
    """Return what names the group of a run; `by` is spec, model, day, or label:NAME."""
    if by.startswith("label:"):
        label = by.removeprefix("label:")
        return lambda store, run: read_labels(store, run).get(label, NO_LABEL)
    if by == "model":
        return _find_model
    if by == "day":
        return lambda _, run: datetime.fromtimestamp(_started_at(run), UTC).strftime("%Y-%m-%d")
    return lambda _, run: run.spec


def _open_state(stack: ExitStack, *, simulate: bool) -> Store | None:
    """Open the state of the project around the working folder, if there is one."""
    root = find_project_root(Path.cwd() / "spec")
    place = find_state(root / SIMULATED_FOLDER if simulate else root)
    return stack.enter_context(open_store(place, lock=False)) if place.exists else None


def _list_runs(store: Store, since: float | None) -> Iterator[Run]:
    """Yield the runs that were confirmed, the oldest first."""
    for run in reversed(store.runs()):
        if run.state not in UNCONFIRMED_STATES and (since is None or _started_at(run) >= since):
            yield run


def sum_costs(*, by: str = "spec", since: float | None = None, simulate: bool = False) -> Costs:
    """Sum up the costs of all runs of the project around the working folder, also of those that were purged.

    A run counts as a whole, on the day when it was started. With `since`, in Unix seconds, only runs that were
    started then or later count. Days are in order, and other groups by what was paid, the most first.
    """
    groups: dict[str, CostGroup] = {}
    total, name_of = CostGroup("total"), _name_group(by)
    with ExitStack() as stack:
        store = _open_state(stack, simulate=simulate)
        if store is None:
            return Costs(by, since, simulate, [], total)
        for run in _list_runs(store, since):
            cost, name = _measure_cost(store, run), name_of(store, run)
            groups.setdefault(name, CostGroup(name)).add(cost)
            total.add(cost)
    return Costs(by, since, simulate, _sort_groups(groups.values(), by), total)


def _sort_groups(groups: Iterable[CostGroup], by: str) -> list[CostGroup]:
    if by == "day":
        return sorted(groups, key=lambda group: group.name)
    return sorted(groups, key=lambda group: (-(group.paid.known or 0.0), group.name))
