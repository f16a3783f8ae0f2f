"""The batches of a run in memory, with their running totals.

Whoever holds the lock is the only writer, so it reads the batches once and keeps them up to date. What is asked
after each step then costs the same for ten batches and for ten thousand.
"""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from runner.errors import StateError
from runner.results.usage import Usage
from runner.store.records import Batch

T = TypeVar("T")

BatchKey = tuple[int, int]
"""Round and number of a batch."""

IN_FLIGHT = ("submitting", "submitted", "ended")
"""The states of a batch that was sent and is not collected yet."""

_LAST_FIRST = ("collected", "ended", "submitted", "submitting", "prepared")

# Sums of whole numbers do not drift while amounts are added and taken away.
_PICODOLLARS = 10**12


def key_of(batch: Batch) -> BatchKey:
    """Return the key of a batch itself, whatever its state."""
    return batch.round, batch.batch


def decode_column(text: str, kind: type[T]) -> T:
    """Decode a value that is stored as JSON in the database. Raises StateError if it is damaged."""
    try:
        return msgspec.json.decode(text, type=kind)
    except ValueError as error:
        raise StateError(f"the database contains a damaged value, {text[:40]!r}: {error}") from error


def _committed_cost(batch: Batch) -> int:
    """Return what a batch counts against the cost cap, in picodollars; see `RunBatches.committed_cost`."""
    if batch.state == "prepared":
        cost = 0.0
    elif batch.cost is not None:
        cost = batch.cost
    else:
        cost = batch.reserved_cost or 0.0
    return round((batch.doubted_cost + cost) * _PICODOLLARS)


@dataclass(slots=True)
class BatchTotals:
    """Running totals of the batches of a run. Amounts are US dollars, and None while no price is known.

    `usage` and the costs are those of the collected batches, and `cache_saving` is what the prompt cache has saved
    of them. `cache_used_at` is when the last batch ended whose requests have a cache mark. `accepted` counts the
    batches that the API accepted, and `seconds` holds how long those took that have ended, ascending.
    """

    usage: Usage = field(default_factory=lambda: Usage(unreadable={}))
    cost: float | None = None
    synchronous_cost: float | None = None
    cache_saving: float = 0.0
    cache_used_at: float | None = None
    accepted: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, before: Batch | None, batch: Batch) -> None:
        """Add what a batch has got since it was `before`."""
        if before is None or batch.usage != before.usage:
            self.usage.add(decode_column(batch.usage, Usage))
        if batch.cost is not None and (before is None or before.cost is None):
            self.cost = (self.cost or 0.0) + batch.cost
            self.synchronous_cost = (self.synchronous_cost or 0.0) + (batch.synchronous_cost or 0.0)
            self.cache_saving += batch.cache_saving or 0.0
        if batch.cache is not None and batch.ended_at is not None:
            self.cache_used_at = max(self.cache_used_at or 0.0, batch.ended_at)
        self.accepted += batch.batch_id is not None and (before is None or before.batch_id is None)
        if _has_times(batch) and (before is None or not _has_times(before)):
            insort(self.seconds, (batch.ended_at or 0.0) - (batch.created_at or 0.0))


def _has_times(batch: Batch) -> bool:
    return bool(batch.ended_at and batch.created_at)


def _only_gains(before: Batch, batch: Batch) -> bool:
    """Return whether a change adds to the totals, as all but the rarest do."""
    return (
        (before.usage in (batch.usage, "{}"))
        and before.cost in (None, batch.cost)
        and (batch.batch_id is not None or before.batch_id is None)
        and (not _has_times(before) or (before.created_at, before.ended_at) == (batch.created_at, batch.ended_at))
    )


def _count_in_processing(batch: Batch) -> int:
    return batch.requests if batch.state in ("submitting", "submitted") else 0


def _is_unreserved(batch: Batch) -> bool:
    return batch.state in IN_FLIGHT and batch.reserved_cost is None and batch.cost is None


def _is_suspected(batch: Batch) -> bool:
    return batch.state == "prepared" and batch.accepted_before_rejection is not None


def _is_warmup(batch: Batch) -> bool:
    return batch.is_warmup


_GROUPS: dict[str, Callable[[Batch], bool]] = {
    "unreserved": _is_unreserved,
    "suspected": _is_suspected,
    "warm-ups": _is_warmup,
}
"""Rare batches: not sent as far as the state knows; prepared again, with a request that the API may reject; sent
before others to write the cache that they read."""


class RunBatches:
    """The batches of one run, in the order of their rounds and numbers."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._by_key: dict[BatchKey, Batch] = {}
        self._by_state: dict[str, dict[BatchKey, Batch]] = {}
        self._requests: dict[str, int] = {}
        self._in_processing: Counter[str | None] = Counter()
        self._committed = 0
        self._groups: dict[str, dict[BatchKey, Batch]] = {name: {} for name in _GROUPS}
        self.totals = BatchTotals()
        for batch in batches:
            self.put(batch)

    def __iter__(self) -> Iterator[Batch]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: BatchKey) -> Batch | None:
        """Return the batch with this round and number."""
        return self._by_key.get(key)

    def in_state(self, *states: str) -> Iterator[Batch]:
        """Yield the batches in these states, state by state; those that are prepared in their order."""
        for state in states:
            yield from self._by_state.get(state, {}).values()

    def newest_in_state(self, state: str) -> Batch | None:
        """Return the batch that came into a state last."""
        found = self._by_state.get(state)
        return next(reversed(found.values())) if found else None

    def count_requests(self, *states: str) -> int:
        """Return the number of requests of the batches in these states."""
        return sum(self._requests.get(state, 0) for state in states)

    def count_in_processing(self, account: str | None) -> int:
        """Return the number of requests that the API has not processed yet, or may have, in an account."""
        return self._in_processing[account]

    def count(self, *states: str) -> int:
        """Return the number of batches in these states."""
        return sum(len(self._by_state.get(state, ())) for state in states)

    def count_by_state(self) -> dict[str, int]:
        """Return the number of batches in each state that has any, the last state first."""
        return {state: count for state in _LAST_FIRST if (count := self.count(state))}

    @property
    def last_round(self) -> int:
        """The number of the last round, or 0."""
        return next(reversed(self._by_key), (0, 0))[0]

    @property
    def committed_cost(self) -> float:
        """The cost of what was sent, in US dollars: of each create its upper bound, until its cost is known."""
        return self._committed / _PICODOLLARS

    def in_group(self, name: str) -> list[Batch]:
        """Return the batches of a group; see `_GROUPS`."""
        return list(self._groups[name].values())

    def put(self, batch: Batch) -> None:
        """Add a batch, or replace it by its new state."""
        key = key_of(batch)
        before = self._by_key.get(key)
        self._by_key = _insert(self._by_key, key, batch, is_sorted=True)
        if before is not None:
            self._requests[before.state] -= before.requests
            self._in_processing[before.account] -= _count_in_processing(before)
            self._committed -= _committed_cost(before)
            if before.state != batch.state:
                del self._by_state[before.state][key]
        found = self._by_state.get(batch.state, {})
        self._by_state[batch.state] = _insert(found, key, batch, is_sorted=batch.state == "prepared")
        self._requests[batch.state] = self._requests.get(batch.state, 0) + batch.requests
        self._in_processing[batch.account] += _count_in_processing(batch)
        self._committed += _committed_cost(batch)
        for name, belongs in _GROUPS.items():
            if belongs(batch):
                self._groups[name][key] = batch
            else:
                self._groups[name].pop(key, None)
        if before is None or _only_gains(before, batch):
            self.totals.add(before, batch)
        else:
            self._recount()

    def remove(self, key: BatchKey) -> None:
        """Take out a batch that is prepared."""
        batch = self._by_key.pop(key)
        del self._by_state[batch.state][key]
        for group in self._groups.values():
            group.pop(key, None)
        self._requests[batch.state] -= batch.requests
        self._committed -= _committed_cost(batch)

    def _recount(self) -> None:
        self.totals = BatchTotals()
        for batch in self._by_key.values():
            self.totals.add(None, batch)


def _insert(
    batches: dict[BatchKey, Batch], key: BatchKey, batch: Batch, *, is_sorted: bool
) -> dict[BatchKey, Batch]:
    """Put a batch into a mapping and return it, sorted again if that is wanted and the key is not the last."""
    is_in_place = not is_sorted or not batches or key in batches or key > next(reversed(batches))
    batches[key] = batch
    return batches if is_in_place else dict(sorted(batches.items()))
