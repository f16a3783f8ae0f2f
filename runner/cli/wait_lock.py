"""Wait for another runner that uses the same state."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

import click

from runner.cli.common import TimeSpan
from runner.cli.log import LOG
from runner.errors import Interrupted, StateLocked

T = TypeVar("T")

_LOOK_SECONDS = 1.0

WAIT_LOCK_OPTION = click.option(
    "--wait-lock",
    type=TimeSpan(),
    metavar="10m",
    help="Wait at most this long if another runner uses the state (default: exit with code 6).",
)


def wait_for_lock(call: Callable[[], T], seconds: float | None, stop: Event) -> T:
    """Return what `call` returns, after waiting at most so many seconds for another runner that uses the state.

    Raises StateLocked if that one is not done by then, and Interrupted at `stop`.
    """
    from runner.store.lock import read_clock

    until, is_said = read_clock() + (seconds or 0.0), False
    while True:
        try:
            return call()
        except StateLocked as error:
            if error.is_free is not None and seconds is None:
                raise StateLocked(f"{error}, or wait for it with `--wait-lock 10m`", error.is_free) from error
            if error.is_free is None or read_clock() >= until:
                raise
            if not is_said:
                LOG.say(f"{error.args[0].rpartition(':')[0]}: waiting for it", event="waiting")
                is_said = True
            # Each call checks the spec and tells its receivers, so it is repeated only once the lock is free.
            if not _wait_until_free(error.is_free, until, stop):
                raise


def _wait_until_free(is_free: Callable[[], bool], until: float, stop: Event) -> bool:
    """Return whether the lock or lease is free before the time `until`."""
    from runner.store.lock import read_clock

    while not is_free():
        if read_clock() >= until:
            return False
        if stop.wait(_LOOK_SECONDS):
            raise Interrupted("stopped while it waited for another runner; nothing was sent")
    return True
