"""Alarms of a run that goes on: a batch that takes too long, results that will be deleted, and the cost."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runner.api.remote_batch import RETENTION_SECONDS
from runner.notify.events import format_share
from runner.notify.record import record_alarm
from runner.pricing.rates import format_cap
from runner.runs.context import RunContext, batch_label
from runner.runs.shared_cap import find_other_runs_under_cap
from runner.runs.summary import measure_progress
from runner.store.records import Run
from runner.store.store import Store

_DAY = 86_400
WARNING_SECONDS = 21 * _DAY
"""Age of results from which it is said that the API deletes them soon."""

_LOOK_SECONDS = 60.0


@dataclass(slots=True)
class Alarms:
    """The alarms of a run, looked for once a minute; `read_clock` returns the API's time."""

    context: RunContext
    read_clock: Callable[[], float]
    _looked_at: float = field(default_factory=time.monotonic)

    def look_if_due(self) -> None:
        """Look for alarms if that is due."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self.look()

    def look(self) -> None:
        """Record the alarms that are new, and have them sent."""
        self._looked_at = time.monotonic()
        names = {name for one in self.context.spec.notify for name in one.on}
        found = self._find() if names & {"slow", "expiring", "spending"} else ()
        is_new = [record_alarm(self.context, name, mark, line) for name, mark, line in found]
        if any(is_new):
            self.context.on_alarm()

    def _find(self) -> Iterator[tuple[str, str, str]]:
        """Yield (name, mark, message) of each alarm as it stands now."""
        batches = self.context.store.run_batches(self.context.run)
        now, waiting = self.read_clock(), list(batches.in_state("submitted", "ended"))
        dated = [(now - one.created_at, one) for one in waiting if one.created_at is not None]
        slow = [(age, one) for age, one in dated if age > _DAY and one.state == "submitted"]
        if slow:
            age, oldest = max(slow, key=lambda pair: pair[0])
            yield "slow", "", f"{batch_label(oldest)} is not answered after {age / 3_600:.0f} hours"
        expiring = [(age, one) for age, one in dated if WARNING_SECONDS < age < RETENTION_SECONDS]
        if expiring:
            age, oldest = max(expiring, key=lambda pair: pair[0])
            left = (RETENTION_SECONDS - age) / _DAY
            yield "expiring", "", f"the API deletes the results of {batch_label(oldest)} in {left:.1f} days"
        yield from self._find_spending()

    def _find_spending(self) -> Iterator[tuple[str, str, str]]:
        cap = self.context.spec.limits.max_cost
        if cap is None:
            return
        store, run = self.context.store, self.context.run
        runs = (run, *find_other_runs_under_cap(store, self.context.spec, run))
        spent = sum(_find_cost(store, one) for one in runs)
        for share in sorted({one.at for one in self.context.spec.notify if "spending" in one.on}):
            if spent >= share * cap:
                line = f"${spent:,.4f} of limits.max_cost {format_cap(cap)} are spent, {share:.0%} or more"
                yield "spending", f"{format_share(share)}{cap:g}", line


def _find_cost(store: Store, run: Run) -> float:
    """Return what a run has cost so far, in US dollars."""
    cost = measure_progress(store, run).cost
    return cost.get("max") or cost["actual"] or 0.0
