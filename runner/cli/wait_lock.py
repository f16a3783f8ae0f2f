"""Wait for another runner that uses the same state."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

import click

from runner.cli.common import TimeSpan
from runner.cli.log import LOG
from runner.errors import StateLocked

T = TypeVar("T")

_LOOK_SECONDS = 1.0

WAIT_LOCK_OPTION = click.option(
    "--wait-lock",
    type=TimeSpan(),
    metavar="10m",
    help="Wait at most this long if another runner uses the state (default: exit with code 6).",
)


def wait_for_lock(call: Callable[[], T], seconds: float | None, stop: Event) -> T:
    """Return what `call` returns, and call it again for so many seconds while another runner uses the state.

    Raises StateLocked if that one is not done by then, or at `stop`.
    """
    from runner.store.lock import read_clock

    until, is_said = read_clock() + (seconds or 0.0), False
    while True:
        try:
            return call()
        except StateLocked as error:
            if stop.is_set() or read_clock() >= until:
                raise
            if not is_said:
                LOG.say(f"{error.args[0].partition(':')[0]}: waiting for it", event="waiting")
                is_said = True
        stop.wait(_LOOK_SECONDS)
