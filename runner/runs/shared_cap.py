"""Find the runs that share a cost cap: those of all variants of a spec, each with the pilot before it."""

from collections.abc import Iterator

from runner.spec.spec import Spec
from runner.spec.variant_names import join_name
from runner.store.records import Run
from runner.store.store import Store


def find_other_runs_under_cap(store: Store, spec: Spec, run: Run) -> list[Run]:
    """Return the started runs whose cost counts under the cap of a run of this spec, besides its own.

    They are the newest run of each other variant, and the pilot before each run, if nothing ran between the two. A
    pilot shares its cap only with those of the other variants.
    """
    names = [join_name(spec.job, variant) for variant in spec.variants] or [spec.name]
    return [one for name in names for one in _find_under_cap(store, name, run)]


def _find_under_cap(store: Store, name: str, run: Run) -> Iterator[Run]:
    started = [one for one in store.runs(name) if one.state in ("running", "finished")]
    if name == run.spec:
        started = [one for one in started if one.number < run.number]
    elif own := next((one for one in started if one.is_pilot == run.is_pilot), None):
        yield own
        started = started[started.index(own) + 1 :]
    if started and started[0].is_pilot and not run.is_pilot:
        yield started[0]
