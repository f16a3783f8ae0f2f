"""Result lines that are missing from a download: how long they are waited for, and what becomes of their rows.

The request_counts of a batch say how many of its requests were answered. An answer that was counted is paid, so
its row is waited for, and not sent again. Pauses and the time so far are in the database: a new process goes on
counting.
"""

from dataclasses import dataclass

from runner.lifecycle.deliver.read_results import BatchResults
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_batches import decode_column

MAX_EARLY_DOWNLOADS = 3
"""Downloads after which rows are given up that the API did not count, or that the user does not wait for."""

# In grace periods, because they are the user's measure of how late the API can be: by default 30 minutes, 6 hours.
_LONGEST_PAUSE, _PATIENCE = 2, 24
_FIRST_PAUSE = 0.2  # of poll_seconds
_FINISHED_COUNTS = ("succeeded", "errored", "canceled", "expired")


@dataclass(frozen=True, slots=True)
class Waiting:
    """The wait for missing results: seconds until the next download, and in all."""

    pause: float
    patience: float


def plan_waiting(context: RunContext, batch: Batch) -> Waiting:
    """Return how long to wait for the missing results of a batch; each pause is twice the one before."""
    grace, tries = context.spec.batch.grace_seconds, batch.incomplete_downloads
    first = min(context.spec.batch.poll_seconds, 5.0) * _FIRST_PAUSE
    return Waiting(min(first * 2.0 ** min(tries, 30), max(grace * _LONGEST_PAUSE, first)), grace * _PATIENCE)


def seconds_until_download(context: RunContext, batch: Batch, now: float) -> float:
    """Return the seconds until the results of a batch may be downloaded again, by the API's clock."""
    if batch.incomplete_at is None or batch.incomplete_at > now:
        # The API's clock was wrong at one of these times, which must not stop the downloads.
        return 0.0
    return max(0.0, batch.incomplete_at + plan_waiting(context, batch).pause - now)


def is_patience_over(context: RunContext, batch: Batch, now: float) -> bool:
    """Return whether results that the API counted have been missing for so long that they will not come."""
    if batch.incomplete_since is None or batch.incomplete_downloads < MAX_EARLY_DOWNLOADS:
        return False
    return now - batch.incomplete_since >= plan_waiting(context, batch).patience


def record_incomplete_download(context: RunContext, batch: Batch, now: float) -> Batch:
    """Record that results are missing from a download, so that the next pause is longer."""
    return context.store.transition(
        batch,
        batch.state,
        incomplete_downloads=batch.incomplete_downloads + 1,
        incomplete_since=min(batch.incomplete_since or now, now),
        incomplete_at=now,
    )


def are_counts_short(batch: Batch, found: BatchResults) -> bool:
    """Return whether the API's own counts say that the missing requests were not answered, so are not paid.

    Every answer that it counted must be there: otherwise nobody knows which of the missing rows has one.
    """
    counts = decode_column(batch.counts, dict[str, int])
    finished = sum(counts.get(name, 0) for name in _FINISHED_COUNTS)
    return bool(counts) and finished < batch.requests and counts.get("succeeded", 0) <= len(found.answered_rows)
