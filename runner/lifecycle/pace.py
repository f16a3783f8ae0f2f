"""Poll schedule with backoff, on the monotonic clock."""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Event

_LONGEST_DELAY = 300.0

Key = tuple[int, int]
CREATES: Key = (0, 0)


@dataclass(slots=True)
class Pace:
    """The time at which each batch is due for its next step, on the monotonic clock.

    All creates share one schedule.
    """

    poll_seconds: float
    due: dict[Key, float] = field(default_factory=dict)
    faults: dict[Key, int] = field(default_factory=dict)

    def is_due(self, key: Key) -> bool:
        return self.due.get(key, 0.0) <= time.monotonic()

    def rest(self, key: Key, seconds: float) -> None:
        """Delay the next step of a batch after a successful step."""
        self.due[key] = time.monotonic() + seconds
        self.faults.pop(key, None)

    def back_off(self, key: Key, advice: float | None) -> float:
        """Delay a batch after a fault, and return the delay in seconds.

        The delay doubles with each fault, with jitter. It is at least `advice`, the API's retry-after in seconds,
        and at most 300 seconds.
        """
        count = self.faults[key] = self.faults.get(key, 0) + 1
        delay = min(self.poll_seconds, 1.0) * 2.0 ** min(count, 20) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        delay = min(max(delay, advice or 0.0), _LONGEST_DELAY)
        self.due[key] = time.monotonic() + delay
        return delay

    def wait(self, keys: Iterable[Key], stop: Event, most: float) -> None:
        """Sleep until the next batch is due or `stop` is set, for at most `most` seconds."""
        next_due = min(self.due.get(key, 0.0) for key in keys)
        stop.wait(max(0.0, min(next_due - time.monotonic(), most)))
