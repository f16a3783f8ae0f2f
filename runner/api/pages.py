"""Pages of the list of batches, checked against each other: a list that contradicts itself proves nothing."""

from collections.abc import Callable, Iterator
from typing import Any

from runner.api.remote_batch import BatchList, RemoteBatch, to_remote_batch
from runner.errors import Unavailable

MAX_PAGES = 2_000
"""Most pages of one list: with 100 batches each, more than a workspace can hold in 29 days."""

_CLOCK_SKEW_SECONDS = 300

FetchPage = Callable[[dict[str, Any]], tuple[BatchList, Any]]
"""Function from the cursor to a page and the headers of its response."""


def _contradiction(what: str) -> Unavailable:
    return Unavailable(f"the list of batches cannot be relied on: {what}")


def _check_order(page: BatchList, seen: set[str], oldest: float) -> float:
    """Add the ids of a page to those that were seen, and return the oldest time so far."""
    for batch in page.data:
        at = batch.created_at.timestamp()
        if at > oldest + _CLOCK_SKEW_SECONDS:
            raise _contradiction(f"{batch.id} is newer than the batch before it")
        if batch.id in seen:
            raise _contradiction(f"{batch.id} is listed twice")
        seen.add(batch.id)
        oldest = min(oldest, at)
    return oldest


def read_pages(fetch_page: FetchPage, *, created_after: float) -> Iterator[RemoteBatch]:
    """Yield the batches created at or after `created_after` (Unix seconds), newest first.

    The creation time ends the listing, not a cursor, because two batches can share an instant. Raises Unavailable
    for a list that is out of order, repeats itself or does not end. A list may be out of order by as much as the
    clocks of two servers can differ.
    """
    cursor: dict[str, Any] = {}
    seen, oldest = set[str](), float("inf")
    for _ in range(MAX_PAGES):
        page, headers = fetch_page(cursor)
        # Before the first batch is used: an older batch in front would hide the others.
        oldest = _check_order(page, seen, oldest)
        for batch in page.data:
            if batch.created_at.timestamp() >= created_after:
                yield to_remote_batch(batch, headers)
        if not page.has_more or oldest < created_after - _CLOCK_SKEW_SECONDS:
            return
        if not page.data or page.last_id is None:
            raise _contradiction("it has more, but does not say after which batch")
        if page.last_id != page.data[-1].id:
            raise _contradiction(f"its last_id is {page.last_id[:80]!r}, but its last batch {page.data[-1].id}")
        cursor = {"after_id": page.last_id}
    raise _contradiction(f"it has more than {MAX_PAGES:,} pages")
