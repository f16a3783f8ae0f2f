"""The local clock behind the API's time."""

import time
from dataclasses import dataclass

# Linux stops CLOCK_MONOTONIC while the machine is suspended, and Python's monotonic clock with it. On macOS
# CLOCK_MONOTONIC itself goes on, but Python reads another clock.
_CLOCK_IDS = [getattr(time, name) for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC") if hasattr(time, name)]


def read_boot_clock() -> float:
    """Return the seconds since a fixed moment, suspended time included; this clock never jumps."""
    return time.clock_gettime(_CLOCK_IDS[0]) if _CLOCK_IDS else time.monotonic()


@dataclass(slots=True)
class ApiClock:
    """The API's clock, as one of the clients of a run has read it last; `offset` is that from the local clock."""

    offset: float | None = None

    def set(self, now: float) -> None:
        """Set the clock to a time in Unix seconds."""
        self.offset = now - read_boot_clock()

    @property
    def now(self) -> float:
        """The time in Unix seconds."""
        return (self.offset or 0.0) + read_boot_clock()
