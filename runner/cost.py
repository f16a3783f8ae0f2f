"""Costs of requests and facts about models, from `models.yaml`; a spec's `prices` override it.

All amounts are US dollars; prices are per million tokens at standard rates.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any

import msgspec

from runner.outcome import Usage
from runner.spec.document import parse_yaml
from runner.spec.spec import Spec

_MILLION, _CHUNK = 1_000_000, 10_000
# Cache prices relative to the input price, if only that is known (platform.claude.com, pricing, 2026-08-21).
_WRITE_5M, _WRITE_1H, _READ = 1.25, 2.0, 0.1


class Price(msgspec.Struct, frozen=True):
    """US dollars per million tokens, at standard rates."""

    input: float
    output: float
    write_5m: float
    write_1h: float
    read: float

    def cost_of(self, usage: Usage) -> float:
        """Return the cost of tokens in millionths of a US dollar, at standard rates."""
        written = usage.cache_creation_input_tokens or 0
        long = (usage.cache_creation and usage.cache_creation.ephemeral_1h_input_tokens) or 0
        return (
            (usage.input_tokens or 0) * self.input
            + (usage.output_tokens or 0) * self.output
            + (usage.cache_read_input_tokens or 0) * self.read
            + max(written - long, 0) * self.write_5m
            + long * self.write_1h
        )


class LongContextPrice(msgspec.Struct, frozen=True):
    """The price of requests whose whole prompt exceeds `tokens` tokens."""

    tokens: int
    price: Price


class Model(msgspec.Struct, frozen=True):
    """Facts about one model. Limits are tokens; dates are ISO text.

    `refuses` names the features that it answers with a 400. `doubtful` names the ones reported only by third
    parties.
    """

    id: str
    source: str
    price: Price | None = None
    above: LongContextPrice | None = None
    context: int | None = None
    max_output: int | None = None
    max_output_beta: int | None = None
    cache_minimum: int | None = None
    bytes_per_token: float = 3.1
    refuses: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    deprecated: str | None = None
    retires: str | None = None
    retired: bool = False
    dated_id: str | None = None


class AttachmentLimits(msgspec.Struct, frozen=True):
    """Limits on the attachments of a request, and upper bounds of their tokens.

    `side` is the longest side of an image in pixels. `side_of_many` is the same for requests with more than `many`
    images. `image_bytes` limits an image in base64.
    """

    pages: int
    pages_of_small: int
    small_context: int
    side: int
    many: int
    side_of_many: int
    image_bytes: int
    page_tokens: int
    image_tokens: int
    unknown_pages: int


class Catalogue(msgspec.Struct, frozen=True):
    """The content of `models.yaml`."""

    dated: str
    batch: float
    us: float
    web_search: float
    cache_hits: dict[str, float]
    hidden_tokens: dict[str, int]
    enqueued: int
    attachments: AttachmentLimits
    models: tuple[Model, ...]


@cache
def load_catalogue() -> Catalogue:
    """Return the facts about all models and prices."""
    document = parse_yaml(files("runner").joinpath("models.yaml").read_bytes(), path="models.yaml", environ={})
    return msgspec.convert(document.value, Catalogue)


def find_model(name: str) -> Model | None:
    """Return the model with this id, dated or undated, or None."""
    return next((model for model in load_catalogue().models if name in (model.id, model.dated_id)), None)


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate at which the requests of one spec are billed.

    `ttls` are the times to live of its cache marks. `hidden_tokens` is the number of tokens that the API may
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

    def batch_cost(self, usage: Usage) -> float:
        """Return the batch cost of one answer with this usage."""
        return self.apply_batch_discount(self.synchronous_cost(usage), usage)

    def apply_batch_discount(self, full_cost: float, usage: Usage) -> float:
        """Return the batch cost of an answer from its synchronous cost; searches are never discounted."""
        searches = _search_cost(usage)
        return (full_cost - searches) * load_catalogue().batch + searches

    def expected_cost(self, prompt: float, output: float, *, cached: float = 0, ttl: str = "") -> float:
        """Return the expected synchronous cost of one request.

        `prompt` and `output` are tokens. With a `ttl` (5m or 1h), some requests read `cached` tokens of the prompt
        from the cache, and the others write them to it.
        """
        price = self._price_for(prompt)
        prefix = cached * price.input
        if ttl:
            hits, write = load_catalogue().cache_hits[ttl], price.write_5m if ttl == "5m" else price.write_1h
            prefix = cached * (hits * price.read + (1 - hits) * write)
        return ((prompt - cached) * price.input + prefix + output * price.output) * self.geo_multiplier / _MILLION

    def cost_upper_bound(self, sizes: Iterable[int], *, is_batched: bool) -> float:
        """Return an upper bound of the cost of requests with these weights in bytes (see `Store.request_sizes`).

        A token has at least one byte, and an answer has at most `max_tokens`. The caller must exclude server
        tools, which can make a prompt arbitrarily long.
        """
        tier = math.inf if self.long_context is None else self.long_context.tokens - self.hidden_tokens
        rest, dollars = iter(sizes), 0.0
        # Within a tier only the sum matters, and one call per request would take seconds for a million.
        while chunk := list(islice(rest, _CHUNK)):
            high = [weight for weight in chunk if weight > tier]
            low = sum(chunk) - sum(high)
            dollars += self._tier_upper_bound(len(chunk) - len(high), low, self.price)
            dollars += (
                self._tier_upper_bound(len(high), sum(high), self.long_context.price)
                if self.long_context is not None
                else 0.0
            )
        return dollars * (load_catalogue().batch if is_batched else 1.0)

    def _tier_upper_bound(self, count: int, size: int, price: Price) -> float:
        """Return an upper bound of the synchronous cost of `count` requests in a tier with this total weight."""
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


def find_cache_ttls(spec: Spec) -> set[str]:
    """Return the times to live of all cache marks in a spec: 5m, 1h."""
    found = {spec.prompt.cache} if spec.prompt.cache else set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            mark = value.get("cache_control")
            if isinstance(mark, dict):
                found.add(str(mark.get("ttl", "5m")))
            for part in value.values():
                look(part)
        elif isinstance(value, list):
            for part in value:
                look(part)

    look(spec.params)
    return {ttl for ttl in (*found, *(block.cache for block in spec.prompt.blocks())) if ttl}


def rate_for_spec(spec: Spec) -> Rate | None:
    """Return the rate of a spec's requests, or None if the price of its model is unknown."""
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
        ttls=frozenset(find_cache_ttls(spec) & {"5m", "1h"}),
        hidden_tokens=hidden,
        max_tokens=int(spec.params["max_tokens"]),
    )


def round_up_cost(dollars: float) -> float:
    """Round an amount up to a hundredth of a cent for display."""
    return math.ceil(dollars * 10_000 - 1e-6) / 10_000
