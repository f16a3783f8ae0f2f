"""Decide the next step of a batch: a pure, ordered table to compare with the state diagram.

Nothing here reads the disk or calls the API. `perform` does what is decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from runner.lifecycle.send.synchronous import MAX_SYNC_BATCH
from runner.lifecycle.send.warm_up import CacheStep


class Step(Enum):
    """The steps that a batch can take."""

    FIND_EARLIER_CREATE = "find the create of an earlier process"
    END_AS_CANCELED = "end its rows as canceled"
    SPLIT_REJECTED = "split it to find the request that the API rejects"
    REPORT_REJECTED = "report the one request that the API rejects"
    CHECK_CANARY = "check the results of the canary"
    UPLOAD_FILES = "upload the files that its requests name"
    SPLIT_FOR_SYNC = "split it into parts that can be sent synchronously"
    SEND_SYNC = "send its requests synchronously"
    WARM_CACHE = "send one of its requests first, to warm the cache"
    REMOVE_MARKS = "write it again without cache marks"
    CREATE = "create a remote batch"
    RECONCILE = "look for the remote batch of a create without an answer"
    POLL = "ask the API for its processing_status"
    COLLECT = "download its results"


@dataclass(frozen=True, slots=True)
class RunState:
    """The facts about a run that decide the next step of its batches.

    `requires_sync` is true once nothing may be sent in a batch any more: by `mode: sync`, or after the deadline.
    """

    is_canceled: bool = False
    requires_sync: bool = False
    canary_passed: bool = True


@dataclass(frozen=True, slots=True)
class BatchState:
    """The facts about a batch that decide its next step.

    `state` and `send_mode` are those of the store; `requests` counts its requests. `may_have_been_sent`: an
    earlier process may have created it. `sync_has_begun`: some of it was sent synchronously. `is_rejected`: the
    API answered its create with a 4xx. `cache_step` is what the prompt cache means for it.
    """

    state: str
    requests: int
    send_mode: str = "batch"
    may_have_been_sent: bool = False
    sync_has_begun: bool = False
    is_rejected: bool = False
    needs_upload: bool = False
    cache_step: CacheStep = CacheStep.SEND


def _always(_: BatchState, __: RunState) -> bool:
    return True


def _may_have_been_sent(batch: BatchState, _: RunState) -> bool:
    return batch.send_mode == "batch" and batch.may_have_been_sent


def _is_canceled(batch: BatchState, run: RunState) -> bool:
    return run.is_canceled and not batch.sync_has_begun


def _can_be_split(batch: BatchState, _: RunState) -> bool:
    return batch.is_rejected and batch.requests > 1


def _is_rejected(batch: BatchState, _: RunState) -> bool:
    return batch.is_rejected


def _waits_for_canary(batch: BatchState, run: RunState) -> bool:
    return batch.send_mode != "canary" and not run.canary_passed


def _needs_upload(batch: BatchState, _: RunState) -> bool:
    return batch.needs_upload


def _is_too_large_for_sync(batch: BatchState, run: RunState) -> bool:
    is_new = batch.send_mode == "batch" and run.requires_sync and not batch.sync_has_begun
    return is_new and batch.requests > MAX_SYNC_BATCH


def _is_sent_synchronously(batch: BatchState, run: RunState) -> bool:
    return batch.send_mode != "batch" or run.requires_sync or batch.sync_has_begun


def _must_warm_cache(batch: BatchState, _: RunState) -> bool:
    return batch.cache_step is CacheStep.WARM


def _must_remove_marks(batch: BatchState, _: RunState) -> bool:
    return batch.cache_step is CacheStep.REMOVE_MARKS


def _was_sent_synchronously(batch: BatchState, _: RunState) -> bool:
    return batch.send_mode != "batch"


STEPS: tuple[tuple[str, Callable[[BatchState, RunState], bool], Step], ...] = (
    ("prepared", _may_have_been_sent, Step.FIND_EARLIER_CREATE),
    ("prepared", _is_canceled, Step.END_AS_CANCELED),
    ("prepared", _can_be_split, Step.SPLIT_REJECTED),
    ("prepared", _is_rejected, Step.REPORT_REJECTED),
    ("prepared", _waits_for_canary, Step.CHECK_CANARY),
    ("prepared", _needs_upload, Step.UPLOAD_FILES),
    ("prepared", _is_too_large_for_sync, Step.SPLIT_FOR_SYNC),
    ("prepared", _is_sent_synchronously, Step.SEND_SYNC),
    ("prepared", _must_warm_cache, Step.WARM_CACHE),
    ("prepared", _must_remove_marks, Step.REMOVE_MARKS),
    ("prepared", _always, Step.CREATE),
    ("submitting", _always, Step.RECONCILE),
    ("submitted", _was_sent_synchronously, Step.SEND_SYNC),
    ("submitted", _always, Step.POLL),
    ("ended", _always, Step.COLLECT),
)
"""(state, condition, step): the first row that fits decides."""


def next_step(batch: BatchState, run: RunState) -> Step:
    """Return the next step of a batch that is not collected yet."""
    return next(step for state, fits, step in STEPS if state == batch.state and fits(batch, run))
