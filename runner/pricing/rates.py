"""Costs of requests and facts about models, from `models.yaml`; a spec's `prices` override it.

All amounts are US dollars; prices are per million tokens at standard rates.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner.pricing.models import LongContextPrice, Model, Price, find_model, load_catalogue
from runner.results.usage import Usage

if TYPE_CHECKING:
    from runner.spec.spec import Spec

_MILLION, _CHUNK = 1_000_000, 10_000


# Cache prices relative to the input price, if only that is known (platform.claude.com, pricing, 2026-08-21).
_WRITE_5M, _WRITE_1H, _READ = 1.25, 2.0, 0.1


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate at which the requests of one spec are billed.

    `ttls` are the times to live of its cache markers. `hidden_tokens` is the number of tokens that the API may
    add to each prompt.
    """

    price: Price
    long_context: LongContextPrice | None
    geo_multiplier: float
    ttls: frozenset[str]
    hidden_tokens: int
    max_tokens: int

    def _price_for(self, prompt: float) -> Price:
        return (
            self.long_context.price
            if self.long_context is not None and prompt > self.long_context.tokens
            else self.price
        )

    def synchronous_cost(self, usage: Usage) -> float:
        """Return the synchronous cost of one answer; because prices have tiers, usages must not be summed."""
        prompt = (
            (usage.input_tokens or 0)
            + (usage.cache_read_input_tokens or 0)
            + (usage.cache_creation_input_tokens or 0)
        )
        geo = load_catalogue().us if usage.inference_geo == "us" else 1.0
        return self._price_for(prompt).cost_of(usage) * geo / _MILLION + _search_cost(usage)

    def cache_saving(self, usage: Usage) -> float:
        """Return what the cache has saved of the synchronous cost of one answer; negative if it has cost more."""
        written, read = usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0
        if not written and not read:
            return 0.0
        prompt = (usage.input_tokens or 0) + written + read
        uncached = Usage(
            prompt,
            usage.output_tokens,
            server_tool_use=usage.server_tool_use,
            inference_geo=usage.inference_geo,
        )
        return self.synchronous_cost(uncached) - self.synchronous_cost(usage)

    def apply_batch_discount(self, full_cost: float, usage: Usage) -> float:
        """Return the batch cost of an answer from its synchronous cost; searches are never discounted."""
        searches = _search_cost(usage)
        return (full_cost - searches) * load_catalogue().batch + searches

    def expected_cost(
        self, prompt: float, output: float, *, cached: float = 0, ttl: str = "", hits: float = 0
    ) -> float:
        """Return the expected synchronous cost of one request.

        `prompt` and `output` are tokens. With a `ttl` (5m or 1h), a share of `hits` of the requests reads `cached`
        tokens of the prompt from the cache, and the others write them to it.
        """
        price = self._price_for(prompt)
        prefix = cached * price.input
        if ttl:
            write = price.write_5m if ttl == "5m" else price.write_1h
            prefix = cached * (hits * price.read + (1 - hits) * write)
        return ((prompt - cached) * price.input + prefix + output * price.output) * self.geo_multiplier / _MILLION

    def cost_upper_bound(self, sizes: Iterable[int], *, is_batched: bool) -> float:
        """Return an upper bound of the cost of requests of these sizes in bytes (see `RowIndex.request_sizes`).

        A token has at least one byte, and an answer has at most `max_tokens`. The caller must exclude server
        tools, which can make a prompt arbitrarily long.
        """
        tier = math.inf if self.long_context is None else self.long_context.tokens - self.hidden_tokens
        rest, dollars = iter(sizes), 0.0
        # Within a tier only the sum matters, and one call per request would take seconds for a million.
        while chunk := list(islice(rest, _CHUNK)):
            high = [size for size in chunk if size > tier]
            low = sum(chunk) - sum(high)
            dollars += self._tier_upper_bound(len(chunk) - len(high), low, self.price)
            dollars += (
                self._tier_upper_bound(len(high), sum(high), self.long_context.price)
                if self.long_context is not None
                else 0.0
            )
        return dollars * (load_catalogue().batch if is_batched else 1.0)

    def _tier_upper_bound(self, count: int, size: int, price: Price) -> float:
        """Return an upper bound of the synchronous cost of `count` requests in a tier.

        `size` is their total size in bytes.
        """
        written = {"5m": price.write_5m, "1h": price.write_1h}
        highest_input_price = max(
            [price.input, *(written[ttl] for ttl in self.ttls), *([price.read] if self.ttls else [])]
        )
        # A workspace setting can keep requests in the US without the spec asking for it.
        geo = max(self.geo_multiplier, load_catalogue().us)
        prompt = size + count * self.hidden_tokens
        return (prompt * highest_input_price + count * self.max_tokens * price.output) * geo / _MILLION


def _search_cost(usage: Usage) -> float:
    found = usage.server_tool_use and usage.server_tool_use.web_search_requests
    return (found or 0) * load_catalogue().web_search


def _price_from_spec(prices: Mapping[str, float], model: Model | None) -> Price | None:
    """Return the spec's own price, completed from its model, or the model's price, or None."""
    if not prices:
        return model.price if model is not None else None
    entry = prices["input"]
    derived = {
        "write_5m": entry * _WRITE_5M,
        "write_1h": entry * _WRITE_1H,
        "read": entry * (model.price.read / model.price.input if model and model.price else _READ),
    }
    return Price(**{**derived, **prices})


def find_cache_ttls(spec: "Spec") -> set[str]:
    """Return the times to live of all cache markers in a spec: 5m, 1h."""
    found = {spec.prompt.mark_ttl} if spec.prompt.mark_ttl else set[str]()

    def search(value: Any) -> None:
        if isinstance(value, dict):
            marker = value.get("cache_control")
            if isinstance(marker, dict):
                found.add(str(marker.get("ttl", "5m")))
            for part in value.values():
                search(part)
        elif isinstance(value, list):
            for part in value:
                search(part)

    search(spec.params)
    return {ttl for ttl in (*found, *(block.cache for block in spec.prompt.blocks())) if ttl}


def rate_for_spec(spec: "Spec", mark: str | None = None) -> Rate | None:
    """Return the rate of a spec's requests, or None if the price of its model is unknown.

    `mark` is the time to live of the cache marks that the runner sets, if it does.
    """
    known, model = load_catalogue(), find_model(str(spec.params["model"]))
    price = _price_from_spec(spec.prices, model)
    if price is None:
        return None
    hidden = 64
    if spec.is_schema_sent or (spec.params.get("output_config") or {}).get("format"):
        hidden += known.hidden_tokens["schema"]
    if spec.params.get("tools") or spec.params.get("mcp_servers") or spec.output.tool is not None:
        hidden += known.hidden_tokens["tools"]
    return Rate(
        price=price,
        long_context=model.above if model is not None and not spec.prices else None,
        geo_multiplier=known.us if spec.params.get("inference_geo") == "us" else 1.0,
        ttls=frozenset({*find_cache_ttls(spec), *([mark] if mark else [])} & {"5m", "1h"}),
        hidden_tokens=hidden,
        max_tokens=int(spec.params["max_tokens"]),
    )


def round_up_cost(dollars: float) -> float:
    """Round an amount up to a hundredth of a cent for display."""
    return math.ceil(dollars * 10_000 - 1e-6) / 10_000


def format_cap(amount: float) -> str:
    """Format a cap in US dollars as it was set: with all its decimals, and without an exponent."""
    return f"${Decimal(repr(amount)).normalize():,f}"


def format_dollars(amount: float | None) -> str:
    """Format an amount in US dollars, rounded up."""
    if amount is None:
        return "unknown"
    return f"${math.ceil(amount * 100 - 1e-6) / 100:,.2f}" if amount >= 10 else f"${round_up_cost(amount):,.4f}"
