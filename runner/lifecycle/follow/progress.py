"""Memory of this process about each batch: when its next step is due, and what was tried.

Nothing here needs to survive: a new process starts with an empty memory and the state on disk.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Event

from runner.errors import ApiError, RunnerError
from runner.store.records import Batch

_MAX_DELAY = 300.0

BatchKey = tuple[int, int]
"""Round and number of a batch."""

CREATE_KEY: BatchKey = (0, 0)
"""All prepared batches wait together: at most one create is in progress."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The result of a step that succeeded: the next one is due in `seconds`.

    `wakes_creates` makes the next create due at once.
    """

    seconds: float = 0.0
    wakes_creates: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The result of a step that failed for now; the API may say after how many seconds to try again."""

    error: ApiError
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """The result of a step after which nothing more can be done for a batch in this process.

    `is_run_wide` stops every further create.
    """

    error: RunnerError
    is_run_wide: bool = False


Result = Wait | Retry | Blocked


@dataclass(slots=True)
class Progress:
    """The memory of one batch. Times are seconds of the monotonic clock, which cannot jump."""

    due_at: float = 0.0
    failures: int = 0
    blocked_by: RunnerError | None = None
    searches: int = 0
    candidates: frozenset[str] = frozenset()
    has_uploaded: bool = False
    was_retried: bool = False

    @property
    def is_due(self) -> bool:
        """True if the next step may be taken now."""
        return self.due_at <= time.monotonic()

    def delay(self, seconds: float) -> None:
        """Set the next step `seconds` from now, after one that succeeded."""
        self.due_at = time.monotonic() + seconds
        self.failures = 0

    def wait_at_least(self, seconds: float) -> None:
        """Put the next step off until `seconds` from now, unless it is later anyway."""
        self.due_at = max(self.due_at, time.monotonic() + seconds)

    def back_off(self, first_delay: float, retry_after: float | None) -> float:
        """Set the next step after a failure and return the seconds until then.

        The delay doubles, with jitter; it is at least `retry_after`, and at most 300 s.
        """
        self.failures += 1
        delay = first_delay * 2.0 ** min(self.failures, 20) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        delay = min(max(delay, retry_after or 0.0), _MAX_DELAY)
        self.due_at = time.monotonic() + delay
        return delay


def key_of(batch: Batch) -> BatchKey:
    """Return the key of a batch itself, whatever its state."""
    return batch.round, batch.batch


def schedule_key(batch: Batch) -> BatchKey:
    """Return the key whose time says when a batch is due: prepared batches share one."""
    return CREATE_KEY if batch.state == "prepared" else key_of(batch)


@dataclass(slots=True)
class Memory:
    """The progress of all batches of a run in this process; `poll_seconds` is the pause between two polls.

    `reported_due` is the time of the next look that was reported last.
    """

    poll_seconds: float
    of_key: defaultdict[BatchKey, Progress] = field(default_factory=lambda: defaultdict(Progress))
    reported_due: float = 0.0

    def of(self, batch: Batch) -> Progress:
        """Return what is remembered of a batch."""
        return self.of_key[key_of(batch)]

    @property
    def creates(self) -> Progress:
        """When the next create is due."""
        return self.of_key[CREATE_KEY]

    def is_due(self, batch: Batch) -> bool:
        """Return whether the next step of a batch may be taken now."""
        return self.of_key[schedule_key(batch)].is_due

    def is_blocked(self, batch: Batch) -> bool:
        """Return whether nothing more can be done for a batch in this process."""
        is_create_blocked = batch.state == "prepared" and self.creates.blocked_by is not None
        return is_create_blocked or self.of(batch).blocked_by is not None

    def blocking_errors(self) -> list[RunnerError]:
        """Return the errors that block batches, in the order in which the batches were first seen."""
        return [one.blocked_by for one in self.of_key.values() if one.blocked_by is not None]

    def back_off(self, batch: Batch, retry_after: float | None = None) -> float:
        """Put a batch off after a failure and return the seconds until its next step."""
        return self.of_key[schedule_key(batch)].back_off(min(self.poll_seconds, 1.0), retry_after)

    def make_all_due(self) -> None:
        """Make the next step of every batch due now."""
        for one in self.of_key.values():
            one.due_at = 0.0

    def next_due(self, batches: Iterable[Batch]) -> float:
        """Return when the next of these batches is due, in seconds of the monotonic clock."""
        return min(self.of_key[schedule_key(batch)].due_at for batch in batches)

    def sleep(self, batches: Iterable[Batch], stop: Event, max_seconds: float) -> None:
        """Sleep until the next of these batches is due, or `stop` is set, or for `max_seconds`."""
        stop.wait(max(0.0, min(self.next_due(batches) - time.monotonic(), max_seconds)))
