"""A run while it is followed: all that its steps need."""

from dataclasses import dataclass
from threading import Event

from runner.api.client import Api
from runner.lifecycle.follow.progress import Memory
from runner.lifecycle.follow.restored import EarlierCreates
from runner.lifecycle.send.deadline import Deadline
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.store.run_batches import RunBatches


@dataclass(slots=True)
class Following:
    """A run while it is followed: what its steps need, and what this process remembers of them.

    `rejections` counts the creates that the API rejected since it last accepted one.
    """

    context: RunContext
    api: Api
    output_format: OutputFormat
    deadline: Deadline
    memory: Memory
    stop: Event
    accept_loss: bool
    earlier: EarlierCreates
    canary_passed: bool = False
    rejections: int = 0

    @property
    def batches(self) -> RunBatches:
        """The batches of the run."""
        return self.context.store.run_batches(self.context.run)

    def count_in_processing(self) -> int:
        """Return the number of requests that the API has not processed yet, or may have."""
        return self.batches.count_requests("submitting", "submitted")
