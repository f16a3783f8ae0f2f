"""What refused creates say of the API's queue: no body is uploaded while it is likely to be refused again.

The API limits the requests in processing (platform.claude.com, rate limits, 2026-08), and does not tell how many
there are. It refuses a create only after its whole body is sent.
"""

import time
from dataclasses import dataclass

_FIRST_PAUSE, _LONGEST_PAUSE = 5, 60
"""Pauses between two creates that would fill the queue as much as a refused one, in polls."""


@dataclass(slots=True)
class QueueLimit:
    """The number of our requests in processing, with those of the create itself, that was refused last.

    A create with fewer can be accepted at once. Another can be so if requests of others have ended, so it is tried
    again after `until`, on the monotonic clock.
    """

    refused: int | None = None
    until: float = 0.0
    refusals: int = 0

    def refuse(self, requests: int, poll_seconds: float) -> float:
        """Remember that a create was refused, and return the seconds until one like it is tried again."""
        pause = poll_seconds * min(_FIRST_PAUSE << self.refusals, _LONGEST_PAUSE)
        self.refused = requests if self.refused is None else min(self.refused, requests)
        self.until, self.refusals = time.monotonic() + pause, min(self.refusals + 1, 10)
        return pause

    def accept(self, requests: int) -> None:
        """Forget the limit if a create was accepted that it would have kept back."""
        if self.refused is not None and requests >= self.refused:
            self.refused, self.refusals = None, 0

    def free_at(self, requests: int) -> float:
        """Return when a create may be tried, on the monotonic clock; 0 if at once."""
        return 0.0 if self.refused is None or requests < self.refused else self.until
