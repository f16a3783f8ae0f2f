"""The one loop of a run: read the state, do each batch's next step, wait, until there is nothing left to do.

Fresh work and work found after a crash take the same path, since a step is chosen by state alone.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Event

import msgspec

from runner.api import Api
from runner.errors import ApiFault, Incomplete, NotFound, Refused, ResultsGone, Unavailable
from runner.lifecycle.collect import collect
from runner.lifecycle.job import Job, name_of
from runner.lifecycle.prepare import prepare_again
from runner.lifecycle.reconcile import reconcile
from runner.lifecycle.submit import submit
from runner.outcome import Validate
from runner.store import Batch

_LONGEST_DELAY = 300.0
_DOWNLOADS = 3
_RETENTION_SECONDS = 29 * 86_400

Key = tuple[int, int]
_CREATES: Key = (0, 0)


@dataclass(slots=True)
class _Pace:
    """When each batch is due for its next step, by a clock that cannot jump. Creates share one pace."""

    poll_seconds: float
    due: dict[Key, float] = field(default_factory=dict)
    faults: dict[Key, int] = field(default_factory=dict)
    incomplete: dict[Key, int] = field(default_factory=dict)
    missing_since: dict[Key, float] = field(default_factory=dict)

    def is_due(self, key: Key) -> bool:
        return self.due.get(key, 0.0) <= time.monotonic()

    def rest(self, key: Key, seconds: float) -> None:
        """Put a batch off after a step that went well."""
        self.due[key] = time.monotonic() + seconds
        self.faults.pop(key, None)
        self.missing_since.pop(key, None)

    def back_off(self, key: Key, advice: float | None) -> float:
        """Put a batch off after a fault: doubling, with jitter, as long as the API advises up to a cap."""
        count = self.faults[key] = self.faults.get(key, 0) + 1
        delay = min(self.poll_seconds, 1.0) * 2.0**count * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        delay = min(max(delay, advice or 0.0), _LONGEST_DELAY)
        self.due[key] = time.monotonic() + delay
        return delay

    def wait(self, keys: Iterable[Key], stop: Event) -> None:
        """Sleep until the next batch is due, or a signal."""
        next_due = min(self.due.get(key, 0.0) for key in keys)
        stop.wait(max(0.0, next_due - time.monotonic()))


def _key(batch: Batch) -> Key:
    return _CREATES if batch.state == "prepared" else (batch.round, batch.batch)


@dataclass(slots=True)
class _Follower:
    job: Job
    api: Api
    validate: Validate | None
    pace: _Pace
    refused: Refused | None = None

    def step(self, batch: Batch) -> None:
        """Do the next step of one batch; a fault that may pass puts the batch off."""
        key = _key(batch)
        try:
            steps = {
                "prepared": self._submit,
                "submitting": self._reconcile,
                "submitted": self._poll,
                "ended": self._collect,
            }
            steps[batch.state](batch, key)
        except Incomplete as error:
            self.pace.incomplete[key] = self.pace.incomplete.get(key, 0) + 1
            self._put_off(batch, key, error)
        except NotFound as error:
            self._check_gone(batch, key, error)
            self._put_off(batch, key, error)
        except Unavailable as error:
            self._put_off(batch, key, error, error.retry_after)

    def _put_off(self, batch: Batch, key: Key, error: ApiFault, advice: float | None = None) -> None:
        delay = self.pace.back_off(key, advice)
        self.job.tell(f"{name_of(batch)}: {error}; trying again in {delay:.0f} s")

    def _check_gone(self, batch: Batch, key: Key, error: NotFound) -> None:
        since = self.pace.missing_since.setdefault(key, time.monotonic())
        is_archived = batch.created_at is not None and time.time() - batch.created_at > _RETENTION_SECONDS
        if is_archived or time.monotonic() - since > self.job.spec.batch.grace_seconds:
            raise ResultsGone(
                f"{name_of(batch)}: the API does not know {batch.batch_id} any more: it was deleted, or is older "
                "than 29 days, or the key is of another workspace. Nothing was sent again."
            ) from error

    def _submit(self, batch: Batch, key: Key) -> None:
        if self.job.run.is_canceled:
            never_sent = ((row, "canceled", False, None, None) for row in self.job.store.rows_of(batch))
            self.job.store.collect(batch, never_sent)
            return
        try:
            batch = submit(self.job, self.api, batch)
        except Refused as error:
            # The batches that were accepted are brought to their end first.
            self.refused = Refused(f"{name_of(batch)} was refused, nothing of it was accepted: {error}")
            return
        self.pace.rest(key, 0)
        self.pace.rest(
            (batch.round, batch.batch), self._search_seconds if batch.batch_id is None else self.pace.poll_seconds
        )

    def _reconcile(self, batch: Batch, key: Key) -> None:
        batch = reconcile(self.job, self.api, batch)
        self.pace.rest(key, self._search_seconds if batch.state == "submitting" else 0)

    def _poll(self, batch: Batch, key: Key) -> None:
        remote = self.api.retrieve(batch.batch_id or "")
        if remote.processing_status != "ended":
            if self.job.run.is_canceled and remote.processing_status == "in_progress":
                self.api.cancel(remote.id)
            self.pace.rest(key, self.pace.poll_seconds)
            return
        counts = msgspec.json.encode(remote.counts).decode()
        self.job.store.move(batch, "ended", ended_at=remote.ended_at, counts=counts)
        self.pace.rest(key, 0)
        self.job.tell(f"{name_of(batch)}: ended")

    def _collect(self, batch: Batch, key: Key) -> None:
        # Results that are late can still come; what is given up is sent, and paid, again.
        age = time.time() - (batch.ended_at or 0)
        is_last_try = (
            self.pace.incomplete.get(key, 0) >= _DOWNLOADS - 1 and age > self.job.spec.batch.grace_seconds
        )
        collect(self.job, self.api, batch, self.validate, is_last_try=is_last_try)
        self.pace.rest(key, 0)

    @property
    def _search_seconds(self) -> float:
        return min(max(self.job.spec.batch.grace_seconds / 10, 0.2), 30.0)

    def pass_over(self, batches: list[Batch], stop: Event) -> bool:
        """Do the step of every batch that is due, one create at most; return whether there was any."""
        worked = created = False
        for batch in batches:
            if stop.is_set():
                break
            is_create = batch.state == "prepared"
            if (is_create and (created or self.refused)) or not self.pace.is_due(_key(batch)):
                continue
            self.step(batch)
            worked = True
            created = created or is_create
        return worked


def follow(job: Job, api: Api, validate: Validate | None, *, poll_seconds: float, wait: bool, stop: Event) -> bool:
    """Bring a run to its end; return whether every row has its final outcome.

    Without `wait` it does what can be done now. After `stop` is set it ends at the next safe moment: a
    create under way is not cut off. Raises what no waiting mends: AccessError, Refused, ResultsGone.
    """
    follower = _Follower(job, api, validate, _Pace(poll_seconds))
    while not stop.is_set():
        batches = [batch for batch in job.store.batches(job.run) if batch.state != "collected"]
        if not batches:
            if not prepare_again(job):
                return True
            job.tell("the rows that can still succeed are sent again")
        elif not follower.pass_over(batches, stop):
            if follower.refused and all(batch.state == "prepared" for batch in batches):
                raise follower.refused
            if not wait:
                return False
            follower.pace.wait(
                [_key(b) for b in batches if not (follower.refused and b.state == "prepared")], stop
            )
    return False
