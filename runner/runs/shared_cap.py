"""Find the runs that share a cost cap: those of all variants of a spec, each with the pilot before it."""

from collections.abc import Iterator
from itertools import islice

from runner.spec.spec import Spec
from runner.spec.variant_names import join_name
from runner.store.records import Run
from runner.store.store import Store


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
