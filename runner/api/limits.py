"""Limits on one call: how long its answer may take, and how long it may be. The stop signal is heard meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Event


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Limits on one call.

    Sending a request, and receiving its answer, may each take `seconds`, plus the time of its bytes at
    `bytes_per_second`. The answer has at most `max_bytes`, also once decompressed. After a stop, a call that may
    be paid has `seconds_after_stop` left; the others end at once.
    """

    seconds: float
    max_bytes: int
    bytes_per_second: float = 10_000.0
    seconds_after_stop: float = 0.0


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Limits on the answers of the API, by the kind of call.

    A create and a message may take as long as the SDK waits for them (SDK 2.14, DEFAULT_TIMEOUT).
    """

    read: AnswerLimits = AnswerLimits(60.0, 8_000_000)
    create: AnswerLimits = AnswerLimits(600.0, 8_000_000, seconds_after_stop=10.0)
    message: AnswerLimits = AnswerLimits(600.0, 32_000_000, seconds_after_stop=30.0)
    results: AnswerLimits = AnswerLimits(60.0, 1 << 40)


class LimitReached(Exception):
    """An answer took too long or is too long, or the call was stopped."""


def confirm_nothing() -> None:
    """Do nothing: a call that creates no batch needs no confirmation."""


@dataclass(slots=True)
class Watch:
    """A call being watched: since when its request is sent or its answer awaited, and the bytes since then.

    `confirm` is called before each block of the request, and raises an error that cuts the request off.
    """

    limits: AnswerLimits
    stop: Event
    confirm: Callable[[], None] = confirm_nothing
    began_at: float = field(default_factory=time.monotonic)
    sent_at: float = field(default_factory=time.monotonic)
    sent: int = 0
    received: int = 0
    stopped_at: float | None = None

    def count_sent(self, size: int) -> None:
        """Count bytes of the request."""
        self.sent += size
        self.sent_at = time.monotonic()

    def count_received(self, size: int) -> None:
        """Count bytes of the answer. Raises LimitReached if there are too many."""
        self.received += size
        if self.received > self.limits.max_bytes:
            raise LimitReached(f"the answer has more than the {self.limits.max_bytes:,} bytes that it can need")

    def check_sending(self) -> None:
        """Raise LimitReached if the request takes too long, or the call was stopped."""
        self._check(self.began_at, self.sent, "sent")

    def check_receiving(self) -> None:
        """Raise LimitReached if the answer takes too long, or the call was stopped."""
        self._check(self.sent_at, self.received, "received")

    def _check(self, since: float, size: int, verb: str) -> None:
        now, limits = time.monotonic(), self.limits
        if now > since + limits.seconds + size / limits.bytes_per_second:
            raise LimitReached(f"only {size:,} bytes were {verb} in {now - since:.0f} s")
        if self.stop.is_set():
            self.stopped_at = self.stopped_at or now
            if now >= self.stopped_at + limits.seconds_after_stop:
                raise LimitReached("stopped before the answer came")


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


def current_watch() -> Watch | None:
    """Return the watch of the call that this thread makes, if it makes one."""
    return _watch.get()


@contextmanager
def watch_call(watch: Watch) -> Iterator[None]:
    """Apply a watch to the bytes that this thread sends and receives meanwhile."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)
