"""Main loop of a run: read the state, do the next step of each batch, wait, and repeat.

New work and work found after a crash take the same path, because the state alone determines the next step.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

import msgspec

from runner.api import Api
from runner.errors import (
    ApiFault,
    CapReached,
    Incomplete,
    NotFound,
    Refused,
    ResultsGone,
    RunnerError,
    StateError,
    Unavailable,
    Undecided,
)
from runner.form import Form
from runner.lifecycle import answer
from runner.lifecycle.again import prepare_again
from runner.lifecycle.budget import reserve
from runner.lifecycle.canary import judge
from runner.lifecycle.collect import collect, give_up
from runner.lifecycle.gone import RETENTION_SECONDS, gone, is_gone
from runner.lifecycle.haste import Haste
from runner.lifecycle.job import Job, name_of
from runner.lifecycle.pace import CREATES, Key, Pace
from runner.lifecycle.reconcile import check_account, reconcile
from runner.lifecycle.refuse import blame, is_meant, refuse, reject, seek
from runner.lifecycle.submit import check_rounds, may_have_been_sent, submit
from runner.lifecycle.upload import uploads
from runner.store.records import Batch

_DOWNLOADS = 3
_DAY = 86_400
_WARNING_SECONDS = 21 * _DAY
# Halving 100,000 requests down to one takes 17 steps of two creates.
_MOST_REFUSALS = 40


def _own(batch: Batch) -> Key:
    return batch.round, batch.batch


def _key(batch: Batch) -> Key:
    return CREATES if batch.state == "prepared" else _own(batch)


@dataclass(slots=True)
class _Follower:
    """Does the steps; `stuck` holds what keeps a batch from its end in this process, while the others go on."""

    job: Job
    api: Api
    form: Form
    pace: Pace
    accept_loss: bool
    stop: Event
    haste: Haste
    stuck: dict[Key, RunnerError] = field(default_factory=dict)
    refusals: int = 0
    looks: dict[Key, int] = field(default_factory=dict)
    retried: set[Key] = field(default_factory=set)
    candidates: dict[Key, set[str]] = field(default_factory=dict)
    uploaded: set[Key] = field(default_factory=set)
    is_judged: bool = False

    def step(self, batch: Batch) -> None:
        """Do the next step of one batch; a fault that may pass puts the batch off."""
        steps = {
            "prepared": self._submit,
            "submitting": self._reconcile,
            "submitted": self._poll,
            "ended": self._collect,
        }
        try:
            try:
                steps[batch.state](batch)
            except NotFound as error:
                if batch.batch_id is not None and is_gone(self.job, self.api, batch):
                    self._let_go(batch, error)
                else:
                    self._put_off(batch, error)
        except Incomplete as error:
            self.job.store.move(batch, batch.state, downloads=batch.downloads + 1)
            self._put_off(batch, error)
        except (Refused, NotFound) as error:
            self._put_off(batch, error)
        except Unavailable as error:
            self._put_off(batch, error, error.retry_after)
        except Undecided as error:
            self.stuck[_own(batch)] = error
        except CapReached as error:
            self.stuck[CREATES] = error

    def _put_off(self, batch: Batch, error: ApiFault, advice: float | None = None) -> None:
        delay = self.pace.back_off(_key(batch), advice)
        self.job.tell(f"{name_of(batch)}: {error}; trying again in {delay:.0f} s")

    def _let_go(self, batch: Batch, error: NotFound | None = None) -> None:
        if self.accept_loss:
            give_up(self.job, batch)
        else:
            self.stuck[_own(batch)] = gone(batch, error)

    def _submit(self, batch: Batch) -> None:
        if batch.lane == "batch" and may_have_been_sent(self.job, batch):
            self._create(batch)
            return
        if self.job.run.is_canceled and not self._is_noted(batch):
            never_sent = ((row, "canceled", False, None, None) for row in self.job.store.rows_of(batch))
            self.job.store.collect(batch, never_sent)
            return
        if batch.refusal is not None:
            if not seek(self.job, batch):
                self.stuck[_own(batch)] = blame(self.job, batch)
            return
        if batch.lane != "canary" and not self.is_judged:
            self.is_judged = judge(self.job, self.form)
            if not self.is_judged:
                return
        if _own(batch) not in self.uploaded:
            try:
                is_changed = uploads(self.job, self.api, batch, self.stop)
            except (Refused, StateError) as error:
                self.stuck[_own(batch)] = error
                return
            self.uploaded.add(_own(batch))
            if is_changed:
                self.pace.rest(CREATES, 0)
                return
        is_begun = self._is_noted(batch)
        lane = "sync" if batch.lane == "batch" and (self.haste.is_on or is_begun) else batch.lane
        if lane == "sync" and not is_begun and answer.needs_parts(batch):
            answer.part(self.job, batch)
            return
        reserved = reserve(self.job, batch, lane, can_wait=self._are_others_under_way())
        if reserved is None:
            self.pace.rest(CREATES, min(1.0, self.pace.poll_seconds))
        elif lane == "batch":
            self._create(reserved)
        else:
            self._answer(reserved)

    def _are_others_under_way(self) -> bool:
        """Whether a batch is under way that will be collected."""
        batches = self.job.store.batches(self.job.run)
        return any(one.state in _UNDER_WAY and not self.is_stuck(one) for one in batches)

    def _is_noted(self, batch: Batch) -> bool:
        """Whether some of a prepared batch was sent synchronously, which the database has forgotten."""
        return self.job.store.folder(self.job.run).noted(batch.round, batch.batch).exists()

    def _answer(self, batch: Batch) -> None:
        answer.answer(self.job, self.api, batch, stop=self.stop)
        self.pace.rest(_own(batch), 0)
        self.pace.rest(CREATES, 0)

    def _create(self, batch: Batch) -> None:
        try:
            batch = submit(self.job, self.api, batch)
        except Refused as error:
            # What was one request already when it was refused before says nothing new.
            self.refusals += batch.refused_after is None or batch.requests > 1
            batch = refuse(self.job, batch, error)
            if self.refusals >= _MOST_REFUSALS:
                self.stuck[CREATES] = blame(self.job, batch)
            return
        self.refusals = 0
        self.pace.rest(CREATES, 0)
        key, is_sent = _own(batch), batch.state == "submitted"
        self.pace.rest(key, self.pace.poll_seconds if is_sent else self._search_seconds(key))

    def _reconcile(self, batch: Batch) -> None:
        key = _own(batch)
        batch, candidates = reconcile(self.job, self.api, batch)
        if batch.state == "submitted":
            self.refusals = 0
        ids = {remote.id for remote in candidates}
        if ids - self.candidates.get(key, set()):
            self.job.tell(
                f"{name_of(batch)}: could be {' or '.join(sorted(ids))}; waiting for its results to identify it"
            )
        self.candidates[key] = ids
        self.pace.rest(key, self._search_seconds(key) if batch.state == "submitting" else 0)

    def _poll(self, batch: Batch) -> None:
        if batch.lane != "batch":
            self._answer(batch)
            return
        remote = self.api.retrieve(batch.batch_id or "")
        if batch.faulty_since is not None:
            batch = self.job.store.move(batch, batch.state, faulty_since=None)
        if remote.processing_status != "ended":
            is_unwanted = self.job.run.is_canceled or self.haste.is_on
            if is_unwanted and remote.processing_status == "in_progress":
                if batch.canceled_at is None and not self.job.run.is_canceled:
                    # Recorded first: whatever is edited later, its rows are still to be sent.
                    batch = self.job.store.move(batch, batch.state, canceled_at=self.api.now)
                with suppress(Refused):  # it has ended meanwhile
                    self.api.cancel(remote.id)
            self.pace.rest(_own(batch), min(self.pace.poll_seconds, 5.0 if is_unwanted else math.inf))
            return
        if remote.archived_at is not None:
            self._let_go(batch)
            return
        counts = msgspec.json.encode(remote.counts).decode()
        self.job.store.move(batch, "ended", ended_at=remote.ended_at, counts=counts)
        self.pace.rest(_own(batch), 0)
        self.job.tell(f"{name_of(batch)}: ended")

    def _collect(self, batch: Batch) -> None:
        # Results that are late can still come; what is given up is sent, and paid, again.
        age = self.api.now - (batch.ended_at or 0)
        is_last_try = batch.downloads >= _DOWNLOADS - 1 and age > self.job.spec.batch.grace_seconds
        is_lost = self.accept_loss or age > _DAY
        sends_canceled = batch.canceled_at is not None and not self.job.run.is_canceled
        how = {"is_last_try": is_last_try, "accept_loss": is_lost, "sends_canceled": sends_canceled}
        collect(self.job, self.api, batch, self.form, **how)
        self.pace.rest(_own(batch), 0)

    def _search_seconds(self, key: Key) -> float:
        """How long to wait for the next look for a batch: what is there mostly shows soon."""
        looks = self.looks[key] = self.looks.get(key, 0) + 1
        return min(max(self.job.spec.batch.grace_seconds / 10, 0.2), 0.5 * 2.0 ** min(looks, 10), 30.0)

    def is_stuck(self, batch: Batch) -> bool:
        """Whether nothing more can be done for a batch in this process."""
        return _own(batch) in self.stuck or (batch.state == "prepared" and CREATES in self.stuck)

    def pass_over(self, batches: list[Batch], stop: Event) -> bool:
        """Do the step of every batch that is due, one create at most; return whether there was any."""
        worked = created = False
        # What was refused is looked into once there is nothing else to send, its smallest part first.
        refused = [batch for batch in batches if batch.refusal is not None]
        ordered = [batch for batch in batches if batch.refusal is None]
        ordered.sort(key=lambda batch: batch.refused_after is not None and batch.requests == 1)
        ordered += sorted(refused, key=lambda batch: batch.requests)
        for batch in ordered:
            if stop.is_set():
                break
            is_create = batch.state == "prepared"
            if (is_create and created) or self.is_stuck(batch) or not self.pace.is_due(_key(batch)):
                continue
            self.step(batch)
            worked = True
            created = created or is_create
        return worked

    def hurry(self) -> None:
        """Look at every batch now; what may not be canceled yet is said."""
        self.pace.due.clear()
        for batch in self.job.store.batches(self.job.run):
            if batch.state == "submitting":
                self.job.tell(f"{name_of(batch)}: its rows wait until it is known whether the API accepted it")

    def conclude(self, batches: list[Batch]) -> None:
        """Once every batch is stuck: reject the requests that are at fault; raise what is left."""
        refused = [batch for batch in batches if batch.refusal is not None and batch.requests == 1]
        meant = [batch for batch in refused if self.accept_loss or is_meant(self.job, batch)]
        for batch in meant:
            if _own(batch) in self.retried or self.accept_loss:
                reject(self.job, batch)
            else:
                # What all had in common may have passed meanwhile.
                self.retried.add(_own(batch))
                self.job.store.move(batch, "prepared", refusal=None)
            self.stuck.pop(_own(batch), None)
        if not meant:
            errors = list(self.stuck.values())
            gravest = next(error for kind in _GRAVE for error in errors if isinstance(error, kind))
            same = [str(error) for error in errors if type(error) is type(gravest)]
            raise type(gravest)("\n".join(same)) from gravest.__cause__

    def begin(self, *, wait: bool, stop: Event) -> None:
        """Make sure that this is where the run belongs, as soon as the API can be reached."""
        while not stop.is_set():
            try:
                check_account(self.job.store.batches(self.job.run), self.api)
                if self.job.run.started_at is None:
                    self.job.run = self.job.store.update(self.job.run, started_at=self.api.now)
                self.warn()
                return
            except Unavailable as error:
                if not wait:
                    raise
                delay = self.pace.back_off(CREATES, error.retry_after)
                self.job.tell(f"{error}; trying again in {delay:.0f} s")
                stop.wait(delay)

    def warn(self) -> None:
        """Say which results will be gone soon, by the API's clock."""
        for batch in self.job.store.batches(self.job.run):
            if batch.state not in ("submitted", "ended"):
                continue
            age = self.api.now - batch.created_at if batch.created_at is not None else 0
            if _WARNING_SECONDS < age < RETENTION_SECONDS:
                left = (RETENTION_SECONDS - age) / _DAY
                self.job.tell(f"{name_of(batch)}: warning: the API will delete its results in {left:.1f} days")


_UNDER_WAY = ("submitting", "submitted", "ended")
_GRAVE = (Undecided, ResultsGone, CapReached, Refused, StateError)


def follow(
    job: Job,
    api: Api,
    form: Form,
    *,
    poll_seconds: float,
    wait: bool,
    accept_loss: bool,
    stop: Event,
) -> bool:
    """Bring a run to its end; return whether every row has its final outcome.

    Without `wait` it does what can be done now. After `stop` is set it ends at the next safe moment: a create
    under way is not cut off. With `accept_loss` rows whose results are gone end as missing. Raises what no
    waiting mends: AccessError and CanaryFailed at once; Undecided, ResultsGone, CapReached, Refused, or StateError
    for a file that cannot be uploaded, once the other batches are done.
    """
    follower = _Follower(job, api, form, Pace(poll_seconds), accept_loss, stop, Haste(job, api))
    job.store.forget_refusals(job.run)
    follower.begin(wait=wait, stop=stop)
    while not stop.is_set():
        if follower.haste.begins():
            follower.hurry()
        batches = [batch for batch in job.store.batches(job.run) if batch.state != "collected"]
        # What is not the canary waits for it.
        ahead = [batch for batch in batches if batch.lane == "canary"] or batches
        free = [batch for batch in ahead if not follower.is_stuck(batch)]
        if not batches:
            if not prepare_again(job, form):
                check_rounds(job)
                return True
            job.tell("next round: retrying the rows that can still succeed")
        elif not free:
            follower.conclude(batches)
        elif not follower.pass_over(free, stop):
            if not wait:
                return False
            follower.pace.wait(map(_key, free), stop, max(follower.haste.seconds_left(), 0.05))
    return False
