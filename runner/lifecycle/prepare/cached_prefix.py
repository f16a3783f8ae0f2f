"""Find what all requests of a run begin with, if it can be cached, and the mark that the runner sets there."""

import math
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from runner.pricing.models import find_model, load_catalogue
from runner.pricing.rates import Rate, find_cache_ttls, rate_for_spec
from runner.requests.shared_prefix import CacheMark, make_cache_mark, measure_shared_prefix
from runner.requests.stored_params import Params
from runner.spec.spec import Spec
from runner.templates.templates import Templates

NEGLIGIBLE_SAVING = 0.05
"""US dollars for which nobody waits for one more batch."""

_TTL = "1h"
_LEAST_TOKENS = 1024
_BYTES_PER_TOKEN = 3.1
_MAX_HELD_BYTES = 8 << 20


class CachedPrefix(NamedTuple):
    """The time to live of the mark behind the shared prefix, if it is one of an hour that has an effect.

    `mark` is the mark if the runner sets it, and None if the spec does. It is worth it from `fewest` requests on.
    `bytes` is its size.
    """

    ttl: str | None = None
    mark: CacheMark | None = None
    fewest: int = 2
    bytes: int = 0

    @property
    def mark_bytes(self) -> int:
        """The bytes that the mark adds to a request."""
        return 0 if self.mark is None else len(self.mark.marked) - len(self.mark.plain)

    def add_mark(self, params: Params) -> Params:
        """Return params with the mark that the runner sets."""
        return params if self.mark is None else self.mark.add(params)

    def hold(self, requests: Iterator[tuple[int, Params]]) -> tuple["CachedPrefix", Iterator[tuple[int, Params]]]:
        """Return the prefix, or none if there are too few requests, and all requests: at most 8 MB are held."""
        if self.ttl is None:
            return self, requests
        held, size = list[tuple[int, Params]](), 0
        for request in requests:
            held.append(request)
            size += len(request[1].stored)
            if len(held) >= self.fewest or size > _MAX_HELD_BYTES:
                return self, chain(held, requests)
        return CachedPrefix(), iter(held)


def decides_cache(spec: Spec) -> bool:
    """Return whether the runner decides about cache marks: the spec sets none, and does not turn them off."""
    return spec.prompt.cache == "auto" and not find_cache_ttls(spec)


def find_least_tokens(spec: Spec) -> int:
    """Return the tokens that a prefix must have at least to be cached."""
    model = find_model(str(spec.params["model"]))
    return model.cache_minimum if model is not None and model.cache_minimum else _LEAST_TOKENS


def find_cached_prefix(templates: Templates) -> CachedPrefix:
    """Return the prefix that the requests of a run cache for an hour. Raises InputError.

    With `cache: auto` that is decided once more by `plan`, when the number of requests is known.
    """
    spec = templates.spec
    model, has_marks = find_model(str(spec.params["model"])), bool(find_cache_ttls(spec))
    if not has_marks and (not decides_cache(spec) or spec.mode == "sync"):
        return CachedPrefix()
    prefix = measure_shared_prefix(templates)
    size = prefix.marked_bytes if has_marks else prefix.bytes
    tokens = size / (_BYTES_PER_TOKEN if model is None else model.bytes_per_token)
    if tokens < find_least_tokens(spec) or (has_marks and prefix.ttl != _TTL):
        return CachedPrefix()
    if has_marks:
        return CachedPrefix(_TTL, bytes=size)
    fewest = _find_fewest(rate_for_spec(spec), tokens)
    return CachedPrefix() if fewest is None else CachedPrefix(_TTL, make_cache_mark(templates), fewest, size)


def _find_fewest(rate: Rate | None, tokens: float) -> int | None:
    """Return the number of requests from which a cache of these tokens saves more than is negligible, or None."""
    if rate is None or rate.price.read >= rate.price.input:
        return None
    price, dollars = rate.price, tokens * load_catalogue().batch / 1_000_000
    saving = dollars * (price.input - price.read)
    return 2 + math.ceil((NEGLIGIBLE_SAVING + dollars * (price.write_1h - price.input)) / saving)
