"""The events that receivers can be told of."""

from runner.errors import (
    Interrupted,
    ManualDecisionRequired,
    RetriesStopped,
    RunnerError,
    StateLocked,
    UsageError,
)
from runner.spec.run_settings import Receiver

EVENTS = {
    "finished": "the run is finished, and its outputs are written",
    "flawed": "the run is finished, but rows failed, or a score is below its min_accuracy",
    "failed": "an error stopped the run, and must be fixed",
    "paused": "the run is unfinished, and nobody follows it: the same command must run again",
    "needs_person": "a person must decide whether a batch was accepted",
    "slow": "a batch is not answered after 24 hours",
    "expiring": "the API deletes results in 8 days or less",
    "spending": "the cost has reached a share of limits.max_cost",
}
"""Each event, with its meaning."""

_QUIET_ERRORS = (Interrupted, RetriesStopped, StateLocked, UsageError)
"""Errors that say nothing about a run: someone stopped or misused the command, or another one is at work.

Stopped retries finish a run, and that was recorded.
"""

_UNFINISHED_CODE = 4


def find_event(error: RunnerError) -> str | None:
    """Return the event of a command that ended with an error, or None if nobody is told."""
    if isinstance(error, _QUIET_ERRORS):
        return None
    if isinstance(error, ManualDecisionRequired):
        return "needs_person"
    return "paused" if error.exit_code == _UNFINISHED_CODE else "failed"


def format_share(share: float) -> str:
    """Return the beginning of the mark of the event `spending` at a share of the cap."""
    return f"{share:g} of "


def is_wanted(receiver: Receiver, name: str, mark: str) -> bool:
    """Return whether a receiver is to be told of an event of this name and mark."""
    return name in receiver.on and (name != "spending" or mark.startswith(format_share(receiver.at)))
