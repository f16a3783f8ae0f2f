"""Switch a run to synchronous sending, or cancel it, when its mode or deadline requires it."""

import math
from dataclasses import dataclass

from runner.api.client import Api
from runner.errors import Unavailable
from runner.lifecycle.send.late_batches import LateBatches, examine_late_batches
from runner.runs.context import RunContext
from runner.text import pluralize

_ACTION_MESSAGES = {
    "sync": "unfinished batches are canceled, and their remaining rows are sent synchronously",
    "cancel": "unfinished batches are canceled",
    "wait": "the run continues",
}

# Late batches are examined again after the time that they are expected to take, but not in a tight loop.
_SHORTEST_WAIT_SECONDS = 60.0


@dataclass(slots=True)
class Deadline:
    """The deadline of a run, measured from its start by the API's clock.

    `looks_again_at` is set if late batches were not canceled at the deadline, because sending their rows
    synchronously would be slower or exceed the cost cap: the time when that is examined again.
    """

    job: RunContext
    api: Api
    has_passed: bool = False
    looks_again_at: float | None = None

    @property
    def requires_sync(self) -> bool:
        """True if unfinished batches are canceled, and their remaining rows sent synchronously."""
        spec = self.job.spec
        mode = self.job.run.mode if spec.mode == "auto" else spec.mode
        return mode == "sync" or (self.has_passed and spec.on_deadline == "sync")

    @property
    def has_ended_waiting(self) -> bool:
        """True once the deadline has passed, unless the run continues after it."""
        return self.has_passed and self.job.spec.on_deadline != "wait"

    def seconds_left(self) -> float:
        """Return the seconds until the deadline.

        Infinite if there is no deadline, if it has already been handled, or if the API's clock is not available.
        """
        deadline, began = self.job.spec.deadline, self.job.run.started_at
        if deadline is None or began is None or self.has_passed:
            return math.inf
        try:
            return max(began + deadline, self.looks_again_at or 0.0) - self.api.now
        except Unavailable:
            return math.inf

    def check_passed(self) -> bool:
        """Return whether the deadline has just passed; if so, `on_deadline` takes effect."""
        if self.seconds_left() > 0:
            return False
        what, late = self.job.spec.on_deadline, None if self.requires_sync else self._examine_late_batches()
        if what == "sync" and late is not None and late.reason_to_wait is not None:
            self.looks_again_at = self.api.now + max(late.wait_seconds, _SHORTEST_WAIT_SECONDS)
            self.job.report(
                "deadline",
                "the deadline has passed: the run waits for its batches, because sending "
                f"{pluralize(late.requests, 'request')} synchronously {late.reason_to_wait}",
            )
            return False
        self.has_passed = True
        amount = f" ({late})" if what == "sync" and late is not None else ""
        self.job.report("deadline", f"the deadline has passed: {_ACTION_MESSAGES[what]}{amount}")
        if what == "cancel":
            self.job.run = self.job.store.update_run(self.job.run, is_canceled=True)
        return True

    def _examine_late_batches(self) -> LateBatches | None:
        return examine_late_batches(self.job, self.api)
