"""Warm the prompt cache: one request is sent as a batch of its own, and the others wait until it has ended.

The requests of one batch do not read what the others of it write to the cache. They do read what a batch has
written that ended before. Others have measured this on the real API (public reports, 2026). The documentation
recommends it too: first send one request that is marked for an hour.
"""

from enum import Enum

from runner.lifecycle.prepare.split_batch import split_batch
from runner.results.usage import Usage
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_batches import RunBatches, decode_column, key_of

LONGEST_WARM_UP = 3600.0
"""Seconds after which the other batches no longer wait for the request that warms the cache."""

# A batch must not only be sent while the cache is there, but also be processed.
_FRESH_SECONDS = 3600.0 - 300.0
_FEWEST_REQUESTS = 10
_MOST_FAILED = 2


class CacheStep(Enum):
    """Steps that a prepared batch can take for the prompt cache."""

    SEND = "send it"
    WAIT = "wait for the batch that warms the cache"
    WARM = "send one of its requests first, to warm the cache"
    REMOVE_MARKS = "send it without cache marks"


def choose_cache_step(batch: Batch, batches: RunBatches, *, now: float, can_wait: bool) -> CacheStep:
    """Return what the cache means for a prepared batch; `now` is the API's clock, in Unix seconds.

    `can_wait` is false if nothing may wait for the cache, as shortly before a deadline.
    """
    if batch.cache is None or batch.is_warmup:
        return CacheStep.SEND
    warm_ups = batches.in_group("warm-ups")
    if not warm_ups:
        return CacheStep.REMOVE_MARKS
    warm_up = max(warm_ups, key=key_of)
    if _has_failed(warm_up):
        # Its row may be at fault, so that of another one is tried, but only once.
        is_repeated = can_wait and len(warm_ups) < _MOST_FAILED and batch.requests >= _FEWEST_REQUESTS
        return CacheStep.WARM if is_repeated else CacheStep.REMOVE_MARKS
    if warm_up.state != "collected":
        return CacheStep.WAIT if can_wait and not _is_slow(warm_up, now) else CacheStep.REMOVE_MARKS
    if not _has_used_cache(warm_up):
        # Marks without an effect cost nothing.
        return CacheStep.SEND
    if now - (batches.totals.cache_used_at or 0.0) < _FRESH_SECONDS:
        return CacheStep.SEND
    # If nothing was sent after the last one, the next one would end too early or too late as well.
    is_worth_it = can_wait and _was_used(warm_up, batches) and batch.requests >= _FEWEST_REQUESTS
    return CacheStep.WARM if is_worth_it else CacheStep.REMOVE_MARKS


def _has_failed(warm_up: Batch) -> bool:
    """Return whether a batch was rejected, or has ended without an answer."""
    if warm_up.state != "collected":
        return warm_up.rejection is not None
    return not decode_column(warm_up.counts, dict[str, int]).get("succeeded", 0) and not _has_used_cache(warm_up)


def _is_slow(warm_up: Batch, now: float) -> bool:
    """Return whether a batch was sent, or has ended without being collected, more than an hour ago."""
    since = warm_up.ended_at or warm_up.created_at or warm_up.intent_at or now
    return warm_up.state != "prepared" and now - since > LONGEST_WARM_UP


def _has_used_cache(batch: Batch) -> bool:
    usage = decode_column(batch.usage, Usage)
    return bool(usage.cache_creation_input_tokens or usage.cache_read_input_tokens)


def _was_used(warm_up: Batch, batches: RunBatches) -> bool:
    """Return whether a batch was sent after the one that warmed its cache."""
    ended_at = warm_up.ended_at or 0.0
    return any(batch.cache is not None and (batch.created_at or 0.0) >= ended_at for batch in batches)


def split_off_warm_up(context: RunContext, batch: Batch) -> None:
    """Make the first request of a prepared batch a batch of its own, which warms the cache for the others."""
    requests = context.store.row_index.requests_of(batch)
    number = split_batch(context, batch, [requests[:1], requests[1:]])
    found = next(one for one in context.store.batches(context.run) if key_of(one) == (batch.round, number))
    context.store.transition(found, "prepared", is_warmup=True)
