"""A run while it is followed: all that its steps need, and the downloads that have begun."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

from runner.api.accounts import Accounts
from runner.api.client import Api
from runner.errors import Unavailable
from runner.lifecycle.follow.progress import Memory
from runner.lifecycle.follow.queue_turn import QueueTurn
from runner.lifecycle.follow.restored import EarlierCreates
from runner.lifecycle.send.deadline import Deadline
from runner.lifecycle.send.warm_up import LONGEST_WARM_UP, CacheStep, choose_cache_step
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_batches import BatchKey, RunBatches, key_of
from runner.workers.run_tasks import WorkerPool

_AT_ONCE = 4

Download = Callable[[], str]
"""A function that puts the results of a batch on disk, and returns their SHA-256; it can run in any thread."""


@dataclass(slots=True)
class Downloads:
    """The downloads of a run that have begun, a few at once, because a link mostly waits.

    What follows from them happens in the order of the steps.
    """

    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_AT_ONCE))
    _begun: dict[BatchKey, Future[str]] = field(default_factory=dict)

    def begin(self, batch: Batch, download: Download) -> None:
        """Begin the download of a batch, unless it has begun; at most four are in progress."""
        if key_of(batch) not in self._begun:
            self._begun[key_of(batch)] = self._pool.submit(download)

    def finish(self, batch: Batch, download: Download) -> str:
        """Return what the download of a batch returns, or raise its error, once it has ended."""
        begun = self._begun.pop(key_of(batch), None)
        return download() if begun is None else begun.result()

    def close(self) -> None:
        """Wait for the downloads in progress, and begin no other."""
        self._pool.shutdown(cancel_futures=True)


@dataclass(slots=True)
class Following:
    """A run while it is followed: what its steps need, and what this process remembers of them.

    `rejections` counts the creates that the API rejected since it last accepted one. `pool` reads large results;
    its workers are let go while the run waits.
    """

    context: RunContext
    accounts: Accounts
    output_format: OutputFormat
    deadline: Deadline
    memory: Memory
    stop: Event
    accept_loss: bool
    earlier: EarlierCreates
    pool: WorkerPool
    turns: dict[str | None, QueueTurn] = field(default_factory=dict)
    downloads: Downloads = field(default_factory=Downloads)
    canary_passed: bool = False
    rejections: int = 0

    @property
    def api(self) -> Api:
        """The client of the first account, for what only one account can do, and for the clock of all."""
        return self.accounts.first

    @property
    def batches(self) -> RunBatches:
        """The batches of the run."""
        return self.context.store.run_batches(self.context.run)

    def turn(self, account: str | None) -> QueueTurn:
        """Return the turn of the run in the queue of an account."""
        if account not in self.turns:
            name = dict(self.accounts)[account].name_queue(account)
            self.turns[account] = QueueTurn(self.context, name, account, self.memory)
        return self.turns[account]

    def leave_queues(self) -> None:
        """Wait in no queue any more."""
        for turn in self.turns.values():
            turn.leave()

    def choose_cache_step(self, batch: Batch) -> CacheStep:
        """Return what the prompt cache means for a prepared batch."""
        if batch.cache is None:
            return CacheStep.SEND
        is_blocked = any(self.memory.is_blocked(one) for one in self.batches.in_group("warm-ups"))
        can_wait = not is_blocked and self.deadline.seconds_left() > LONGEST_WARM_UP
        return choose_cache_step(batch, self.batches, now=self.read_clock(), can_wait=can_wait)

    def read_clock(self) -> float:
        """Return the API's time, or the local one as long as the API does not answer."""
        try:
            return self.api.now
        except Unavailable:
            return time.time()

    def waits_for_cache(self, batch: Batch) -> bool:
        """Return whether a prepared batch waits for the one that warms the cache."""
        is_sent_otherwise = self.context.run.is_canceled or self.deadline.requires_sync
        return not is_sent_otherwise and self.choose_cache_step(batch) is CacheStep.WAIT

    def count_in_processing(self, account: str | None) -> int:
        """Return the number of requests in an account that the API has not processed yet, or may have."""
        is_default = account is not None and account == self.accounts.default
        older = self.batches.count_in_processing(None) if is_default else 0
        return self.batches.count_in_processing(account) + older
