"""When a run cannot wait for batches: its mode says so, or its deadline is over."""

import math
from dataclasses import dataclass

from runner.api import Api
from runner.errors import Unavailable
from runner.lifecycle.job import Job

_WHAT = {
    "sync": "what has not ended is canceled, and sent synchronously",
    "cancel": "what has not ended is canceled",
    "wait": "the run goes on",
}


@dataclass(slots=True)
class Haste:
    """The deadline of a run, by the API's clock from its start on."""

    job: Job
    api: Api
    is_late: bool = False

    @property
    def is_on(self) -> bool:
        """Whether what has not ended is canceled and sent synchronously."""
        spec = self.job.spec
        mode = self.job.run.mode if spec.mode == "auto" else spec.mode
        return mode == "sync" or (self.is_late and spec.on_deadline == "sync")

    def seconds_left(self) -> float:
        """How long until the deadline; infinite if there is none, or if it is over."""
        deadline, began = self.job.spec.deadline, self.job.run.started_at
        if deadline is None or began is None or self.is_late:
            return math.inf
        try:
            return began + deadline - self.api.now
        except Unavailable:
            return math.inf

    def begins(self) -> bool:
        """Whether the deadline is just over; what the spec says of that is recorded then."""
        if self.seconds_left() > 0:
            return False
        self.is_late = True
        what = self.job.spec.on_deadline
        self.job.tell(f"the deadline is over: {_WHAT[what]}")
        if what == "cancel":
            self.job.run = self.job.store.update(self.job.run, is_canceled=True)
        return True
