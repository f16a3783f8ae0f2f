"""Poll schedule with backoff, on the monotonic clock."""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Event

_MAX_DELAY_SECONDS = 300.0


BatchKey = tuple[int, int]


CREATE_KEY: BatchKey = (0, 0)


@dataclass(slots=True)
class Schedule:
    """The time at which each batch is due for its next step, on the monotonic clock.

    All creates share one schedule.
    """

    poll_seconds: float
    due_at: dict[BatchKey, float] = field(default_factory=dict)
    failures: dict[BatchKey, int] = field(default_factory=dict)

    def is_due(self, key: BatchKey) -> bool:
        return self.due_at.get(key, 0.0) <= time.monotonic()

    def delay(self, key: BatchKey, seconds: float) -> None:
        """Delay the next step of a batch after a successful step."""
        self.due_at[key] = time.monotonic() + seconds
        self.failures.pop(key, None)

    def backoff(self, key: BatchKey, retry_after: float | None) -> float:
        """Delay a batch after a fault, and return the delay in seconds.

        The delay doubles with each fault, with jitter. It is at least `retry_after`, the API's retry-after in
        seconds, and at most 300 seconds.
        """
        count = self.failures[key] = self.failures.get(key, 0) + 1
        delay = min(self.poll_seconds, 1.0) * 2.0 ** min(count, 20) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        delay = min(max(delay, retry_after or 0.0), _MAX_DELAY_SECONDS)
        self.due_at[key] = time.monotonic() + delay
        return delay

    def wait(self, keys: Iterable[BatchKey], stop: Event, max_seconds: float) -> None:
        """Sleep until the next batch is due or `stop` is set, for at most `max_seconds` seconds."""
        next_due = min(self.due_at.get(key, 0.0) for key in keys)
        stop.wait(max(0.0, min(next_due - time.monotonic(), max_seconds)))
