"""A Message Batch as the API shows it, decoded from its JSON."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

RETENTION_SECONDS = 29 * 86_400
"""Seconds for which the API keeps the results of a batch, from its creation (platform.claude.com, batches)."""


# An id becomes part of URLs, messages and commands to copy.
_Id = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]+\Z", max_length=256)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Counts(msgspec.Struct):
    """The five known counts; a new one would count requests twice."""

    processing: _Count = 0
    succeeded: _Count = 0
    errored: _Count = 0
    canceled: _Count = 0
    expired: _Count = 0


class _Batch(msgspec.Struct):
    id: _Id
    processing_status: str
    request_counts: _Counts
    created_at: datetime
    ended_at: datetime | None = None
    archived_at: datetime | None = None


class BatchList(msgspec.Struct):
    """One page of the list of batches; the next page begins after `last_id`."""

    data: list[_Batch]
    has_more: bool
    last_id: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A Message Batch as the API shows it. Times are Unix seconds by the API's clock.

    `counts` are the five known request_counts; `request_id` comes from the response headers.
    """

    id: str
    processing_status: str
    counts: dict[str, int]
    created_at: float
    ended_at: float | None
    archived_at: float | None
    request_id: str | None

    @property
    def requests(self) -> int:
        """The number of requests in the batch: the sum of the counts, whatever their status."""
        return sum(self.counts.values())


def to_remote_batch(batch: _Batch, headers: Any) -> RemoteBatch:
    """Return the batch of a decoded body; `headers` are those of the response."""
    return RemoteBatch(
        batch.id,
        batch.processing_status,
        msgspec.structs.asdict(batch.request_counts),
        batch.created_at.timestamp(),
        batch.ended_at.timestamp() if batch.ended_at else None,
        batch.archived_at.timestamp() if batch.archived_at else None,
        headers.get("request-id"),
    )


def decode_remote_batch(body: bytes, headers: Any) -> RemoteBatch:
    """Return the batch of a response. Raises msgspec.MsgspecError for a body that is not a batch."""
    return to_remote_batch(msgspec.json.decode(body, type=_Batch), headers)
