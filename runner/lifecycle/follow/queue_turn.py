"""The turn of a run to send its next batch, among all runs of the state that share the API's queue.

As long as the queue is not known to be full, nothing waits, and a create costs one question to the state.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field

from runner.errors import QueueFull, StateError, StateLocked
from runner.lifecycle.follow.progress import Memory
from runner.runs.context import RunContext
from runner.store.api_queue import ApiQueue, Turn
from runner.store.records import Batch
from runner.text import pluralize

_LONGEST_PAUSE = 60.0
"""The longest pause between two looks, in seconds: others wait for a killed run by its pauses."""

_MISSED_LOOKS, _SPARE_SECONDS = 3, 5.0
"""The looks that a waiting run may miss, and the seconds besides, until others go on without it."""

_FULL, _TOO_LARGE = "full", "too large"
_ADVICE = (
    "nothing of this state is in the queue: if nothing else is, {} in one batch are more than it takes. Set "
    "batch.max_requests to less than your tier's queue (Start: 200,000; a new organization: less; see Limits in "
    "the Console), and run it again with --new"
)


@dataclass(slots=True)
class QueueTurn:
    """The turn of a run in the queue with this name, which it sends to with an account.

    `is_known_full` says if the queue was so at the last look, and `_said` what was reported since it is.
    """

    context: RunContext
    name: str
    account: str | None
    memory: Memory
    is_known_full: bool = False
    _said: set[str] = field(default_factory=set)

    @property
    def _queue(self) -> ApiQueue:
        return self.context.store.api_queue

    def may_create(self, batch: Batch) -> bool:
        """Return whether a batch may be sent now; otherwise the run waits, and looks again within a minute."""
        self.is_known_full = self._queue.is_full(self.name)
        if not self.is_known_full:
            self._said.clear()
            return True
        poll_seconds = self.memory.poll_seconds
        pause = min(poll_seconds, _LONGEST_PAUSE)
        patience = _MISSED_LOOKS * pause + _SPARE_SECONDS
        turn = self._queue.take_turn(
            self.name, self.context.run, batch.requests, poll_seconds=poll_seconds, alive_for=patience
        )
        if not turn.may_go:
            until_try = turn.seconds if turn.seconds > 0 else pause
            self.memory.account(self.account).look_at = time.monotonic() + min(pause, until_try)
            self._report_waiting(turn, batch)
        return turn.may_go

    def _report_waiting(self, turn: Turn, batch: Batch) -> None:
        what = _FULL if turn.first is None else turn.first.run
        if what in self._said:
            return
        self._said.add(what)
        if turn.first is None:
            line = f"the queue is full with {pluralize(turn.in_processing, 'request')} of this state"
        else:
            has_fewer = turn.first.in_processing < turn.own.in_processing
            reason = "has fewer requests in it" if has_fewer else "waits longer"
            line = f"the queue is full, and run {turn.first.run} {reason}"
        self._report("queue", f"waiting: {line}", batch)

    def _report(self, event: str, line: str, batch: Batch) -> None:
        self.context.report(event, line if self.account is None else f"account {self.account}: {line}", batch)

    def refuse(self, batch: Batch, error: QueueFull) -> None:
        """Record that a create was refused, and put the next one off."""
        was_refused, self.is_known_full = self.is_known_full, True
        self._said.add(_FULL)
        if self._queue.count(self.name):
            pause = self._record(batch, None)
            self.memory.account(self.account).creates.delay(error.retry_after or 0.0)
            when = f"once a batch has ended, or in {max(pause, error.retry_after or 0.0):.0f} s"
        else:
            # Nothing that the state knows of will make room.
            delay = self._record(batch, self.memory.back_off(batch, error.retry_after))
            when = f"in {delay:.0f} s"
            if was_refused:
                self._advise(batch)
        self._report("retrying", f"{error}; trying again {when}", batch)

    def _advise(self, batch: Batch) -> None:
        """Say once what else the reason can be if the queue stays full without anything of ours."""
        if _TOO_LARGE not in self._said:
            self._said.add(_TOO_LARGE)
            self._report("queue", _ADVICE.format(pluralize(batch.requests, "request")), batch)

    def _record(self, batch: Batch, pause: float | None) -> float:
        run, poll_seconds = self.context.run, self.memory.poll_seconds
        return self._queue.refuse(self.name, run, batch.requests, poll_seconds=poll_seconds, pause=pause)

    def accept(self) -> None:
        """Record that a create was accepted."""
        if self.is_known_full:
            self._queue.accept(self.name, self.context.run, poll_seconds=self.memory.poll_seconds)
        self.is_known_full = False

    def leave(self) -> None:
        """Wait no more, so that no other run waits for this one."""
        if self.is_known_full:
            self.is_known_full = False
            # Whatever else this run does with a state that it has lost says so.
            with suppress(StateError, StateLocked):
                self._queue.leave(self.name, self.context.run)
