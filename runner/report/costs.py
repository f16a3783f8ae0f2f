"""The tokens and the cost of a run, by batch and by kind."""

from collections.abc import Iterable, Sequence

from runner.pricing.models import Price, load_catalogue
from runner.report.figures import BatchFigures, KindCost, Tokens
from runner.results.usage import CacheCreation, Usage
from runner.runs.context import batch_label
from runner.store.records import Batch
from runner.store.run_batches import decode_column

_KINDS = ("prompt", "cache write", "cache read", "answer")
_MILLION = 1_000_000
_TOLERANCE = 0.01


def describe_batch(batch: Batch) -> BatchFigures:
    """Return the figures of a batch."""
    mode = {"sync": "synchronous", "canary": "canary"}.get(batch.send_mode, "batch")
    return BatchFigures(
        name=batch_label(batch).removeprefix("batch "),
        id=batch.batch_id,
        state=batch.state,
        mode="cache warm-up" if batch.is_warmup else mode,
        requests=batch.requests,
        tokens=read_tokens(decode_column(batch.usage, Usage)),
        cost=batch.cost,
        created_at=batch.created_at or batch.intent_at,
        ended_at=batch.ended_at,
    )


def read_tokens(usage: Usage) -> Tokens:
    """Return the tokens of a usage by kind."""
    return Tokens(
        input=int(usage.input_tokens or 0),
        cache_write=int(usage.cache_creation_input_tokens or 0),
        cache_read=int(usage.cache_read_input_tokens or 0),
        output=int(usage.output_tokens or 0),
    )


def split_cost(batches: Sequence[Batch], price: Price | None) -> list[KindCost]:
    """Return the tokens of collected batches by kind, each with its part of the cost.

    The costs are None if the prices of the kinds do not explain the whole cost, as with searches that are billed
    per call, or with a higher price of long prompts.
    """
    ended = [batch for batch in batches if batch.state == "collected"]
    tokens = [read_tokens(decode_column(batch.usage, Usage)) for batch in ended]
    sums = [sum(kind) for kind in zip(*tokens, strict=True)] or [0] * len(_KINDS)
    costs: list[float | None] = [None] * len(_KINDS)
    if price is not None and ended and all(batch.cost is not None for batch in ended):
        priced = [_price_kinds(batch, one, price) for batch, one in zip(ended, tokens, strict=True)]
        found = [sum(kind) for kind in zip(*priced, strict=True)]
        if _explains(found, (batch.cost or 0.0 for batch in ended)):
            costs = [*found]
    return [KindCost(*one) for one in zip(_KINDS, sums, costs, strict=True)]


def _price_kinds(batch: Batch, tokens: Tokens, price: Price) -> list[float]:
    """Return the cost in US dollars of the tokens of a batch, by kind."""
    is_long = batch.cache == "1h"
    written = CacheCreation(ephemeral_1h_input_tokens=tokens.cache_write if is_long else 0)
    usages = (
        Usage(input_tokens=tokens.input),
        Usage(cache_creation_input_tokens=tokens.cache_write, cache_creation=written),
        Usage(cache_read_input_tokens=tokens.cache_read),
        Usage(output_tokens=tokens.output),
    )
    discount = load_catalogue().batch if batch.send_mode == "batch" else 1.0
    return [price.cost_of(usage) * discount / _MILLION for usage in usages]


def _explains(parts: Iterable[float], costs: Iterable[float]) -> bool:
    whole = sum(costs)
    return abs(sum(parts) - whole) <= _TOLERANCE * whole
