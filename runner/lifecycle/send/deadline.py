"""Switch a run to synchronous sending, or cancel it, when its mode or deadline requires it."""

import math
from dataclasses import dataclass

from runner.api.client import Api
from runner.errors import Unavailable
from runner.runs.context import RunContext

_ACTION_MESSAGES = {
    "sync": "unfinished batches are canceled, and their remaining rows are sent synchronously",
    "cancel": "unfinished batches are canceled",
    "wait": "the run continues",
}


@dataclass(slots=True)
class Deadline:
    """The deadline of a run, measured from its start by the API's clock."""

    job: RunContext
    api: Api
    has_passed: bool = False

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
            return began + deadline - self.api.now
        except Unavailable:
            return math.inf

    def check_passed(self) -> bool:
        """Return whether the deadline has just passed; if so, `on_deadline` takes effect."""
        if self.seconds_left() > 0:
            return False
        self.has_passed = True
        what = self.job.spec.on_deadline
        self.job.report(f"the deadline has passed: {_ACTION_MESSAGES[what]}")
        if what == "cancel":
            self.job.run = self.job.store.update_run(self.job.run, is_canceled=True)
        return True
