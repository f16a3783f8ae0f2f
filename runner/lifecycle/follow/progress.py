"""Memory of this process about each batch: when its next step is due, and what was tried.

Nothing here needs to survive: a new process starts with an empty memory and the state on disk.
"""

import math
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from runner.errors import AccessError, ApiError, RunnerError
from runner.store.records import Batch
from runner.store.run_batches import BatchKey, key_of

_MAX_DELAY = 300.0

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

    def delay(self, seconds: float) -> None:
        """Set the next step `seconds` from now, after one that succeeded."""
        self.due_at = time.monotonic() + seconds
        self.failures = 0

    def wait_at_least(self, seconds: float) -> None:
        """Put the next step off until `seconds` from now, unless it is later anyway."""
        self.due_at = max(self.due_at, time.monotonic() + seconds)

    def plan_search(self, grace_seconds: float) -> float:
        """Return the seconds until the next search for a batch: one that exists mostly shows soon."""
        self.searches += 1
        return min(max(grace_seconds / 10, 0.2), 0.5 * 2.0 ** min(self.searches, 10), 30.0)

    def back_off(self, first_delay: float, retry_after: float | None) -> float:
        """Set the next step after a failure and return the seconds until then.

        The delay doubles, with jitter; it is at least `retry_after`, and at most 300 s.
        """
        self.failures += 1
        delay = first_delay * 2.0 ** min(self.failures, 20) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        delay = min(max(delay, retry_after or 0.0), _MAX_DELAY)
        self.due_at = time.monotonic() + delay
        return delay


@dataclass(slots=True)
class AccountMemory:
    """The memory of one account.

    `creates` says when the next batch may be sent with it, or what speaks against it, and `look_at` when the run
    looks next if there is room in its queue. `blocked_by` is the error for which nothing can be done with it.
    """

    creates: Progress = field(default_factory=Progress)
    look_at: float = 0.0
    blocked_by: AccessError | None = None

    @property
    def is_usable(self) -> bool:
        """True if batches can be sent with it."""
        return self.creates.blocked_by is None and self.blocked_by is None


@dataclass(slots=True)
class Memory:
    """The progress of all batches of a run in this process; `poll_seconds` is the pause between two polls.

    `default_account` is that of batches without one, and `first_account` that of synchronous requests.
    `reported_due` is the time of the next look that was reported last, and `access_errors` are those that block
    accounts, the first one first. `_schedule` is a heap of the batches in flight by the times at which they are
    due. A time that has changed since is out of date, and is skipped.
    """

    poll_seconds: float
    default_account: str | None = None
    first_account: str | None = None
    of_key: defaultdict[BatchKey, Progress] = field(default_factory=lambda: defaultdict(Progress))
    reported_due: float = 0.0
    access_errors: list[AccessError] = field(default_factory=list)
    _accounts: defaultdict[str | None, AccountMemory] = field(default_factory=lambda: defaultdict(AccountMemory))
    _schedule: list[tuple[float, BatchKey]] = field(default_factory=list)

    def of(self, batch: Batch) -> Progress:
        """Return what is remembered of a batch."""
        return self.of_key[key_of(batch)]

    def account(self, name: str | None) -> AccountMemory:
        """Return what is remembered of an account."""
        return self._accounts[name or self.default_account]

    def find_account(self, batch: Batch) -> str | None:
        """Return the name of the account that the next step of a batch uses."""
        return batch.account or self.default_account if batch.send_mode == "batch" else self.first_account

    @property
    def creates(self) -> Progress:
        """The time at which the next create is due, whatever its account."""
        return self.of_key[CREATE_KEY]

    def is_blocked(self, batch: Batch) -> bool:
        """Return whether nothing more can be done for a batch in this process, whatever its account."""
        above = self.creates if batch.state == "prepared" else self.account(self.find_account(batch))
        return above.blocked_by is not None or self.of(batch).blocked_by is not None

    def blocking_errors(self) -> list[RunnerError]:
        """Return the errors that block batches, in the order in which these were first seen, and then accounts."""
        return [*(one.blocked_by for one in self.of_key.values() if one.blocked_by), *self.access_errors]

    def back_off(self, batch: Batch, retry_after: float | None = None) -> float:
        """Put a batch off after a failure, or the creates of its account, and return the seconds until then."""
        waiting = self.account(self.find_account(batch)).creates if batch.state == "prepared" else self.of(batch)
        return waiting.back_off(min(self.poll_seconds, 1.0), retry_after)

    def look_at_queues(self) -> None:
        """Look at once if there is room in a queue."""
        for account in self._accounts.values():
            account.look_at = 0.0

    def make_all_due(self, in_flight: Iterable[Batch]) -> None:
        """Make the next step of every batch due now; `in_flight` are those that were sent."""
        # The next step of a prepared batch may be another than a create.
        self.look_at_queues()
        for one in (*self.of_key.values(), *(account.creates for account in self._accounts.values())):
            one.due_at = 0.0
        self._schedule = [(0.0, key_of(batch)) for batch in in_flight if not self.is_blocked(batch)]
        heapify(self._schedule)

    def schedule(self, batch: Batch) -> None:
        """Remember when a batch in flight is due, after each step that it took."""
        if not self.is_blocked(batch):
            heappush(self._schedule, (self.of(batch).due_at, key_of(batch)))

    def next_due(self) -> float:
        """Return the time on the monotonic clock when a batch in flight is due next, or infinity without one."""
        while self._schedule:
            due_at, key = self._schedule[0]
            if self.of_key[key].due_at == due_at:
                return due_at
            heappop(self._schedule)
        return math.inf

    def pop_due(self) -> list[BatchKey]:
        """Return the batches in flight that are due now, the longest due first; each is to be scheduled again."""
        now, due = time.monotonic(), list[BatchKey]()
        while self.next_due() <= now:
            due.append(heappop(self._schedule)[1])
        return due
