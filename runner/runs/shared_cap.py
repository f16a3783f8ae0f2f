"""Find the runs that share a cost cap: those of all variants of a spec, each with the pilot before it."""

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from runner.spec.spec import Spec
from runner.spec.variant_names import join_name
from runner.store.records import Run
from runner.store.run_batches import IN_FLIGHT
from runner.store.store import Store


@dataclass(frozen=True, slots=True)
class SpentOfCap:
    """The cost, in US dollars, of the runs that share the cap of a planned run.

    If it `is_upper_bound`, some of it is in progress, and counts with the most that it can cost.
    """

    pilots: float = 0.0
    variants: float = 0.0
    is_upper_bound: bool = False

    @property
    def total(self) -> float:
        """All of it."""
        return self.pilots + self.variants


def measure_spent(
    store: Store, spec: Spec, run: Run, *, planned: Collection[str] = (), is_pilot_due: bool = False
) -> SpentOfCap:
    """Return what is spent of the cap of a run that is planned.

    `planned` are the names of the specs that are planned with it: their last runs will no longer be the newest. If
    their pilots are due too, the pilots before will not be either.
    """
    names = {spec.name, *planned}
    others = find_other_runs_under_cap(store, spec, replace(run, number=sys.maxsize))
    runs = [one for one in others if one.spec not in names or (one.is_pilot and not is_pilot_due)]
    batches = [(one, store.run_batches(one)) for one in runs]
    total = sum(found.committed_cost for _, found in batches)
    pilots = sum(found.committed_cost for one, found in batches if one.is_pilot)
    return SpentOfCap(pilots, total - pilots, any(found.count(*IN_FLIGHT) for _, found in batches))


def find_other_runs_under_cap(store: Store, spec: Spec, run: Run) -> list[Run]:
    """Return the started runs whose cost counts under the cap of a run of this spec, besides its own.

    They are the newest run of each other variant, and of all variants the pilot before that run and a pilot after
    it, if nothing ran in between. A pilot shares its cap only with those of the other variants.
    """
    names = [join_name(spec.job, variant) for variant in spec.variants] or [spec.name]
    find = _find_pilot if run.is_pilot else _find_under_cap
    return [one for name in names for one in find(store, name, run)]


def _find_pilot(store: Store, name: str, run: Run) -> Iterator[Run]:
    pilots = (one for one in _find_started(store, name) if one.is_pilot and name != run.spec)
    yield from islice(pilots, 1)


def _find_under_cap(store: Store, name: str, run: Run) -> Iterator[Run]:
    started = _find_started(store, name)
    if name == run.spec:
        started = [one for one in started if one.number < run.number]
    yield from started[:1] if started and started[0].is_pilot else ()
    if name == run.spec:
        return
    newest = next((index for index, one in enumerate(started) if not one.is_pilot), len(started))
    yield from started[newest : newest + 1]
    yield from (one for one in started[newest + 1 : newest + 2] if one.is_pilot)


def _find_started(store: Store, name: str) -> list[Run]:
    return [one for one in store.runs(name) if one.state in ("running", "finished")]
