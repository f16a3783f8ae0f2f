"""Rules about cache markers that have little or no effect."""

from collections.abc import Iterator

from runner.pricing.models import load_catalogue
from runner.pricing.rates import find_cache_ttls
from runner.rules.finding import RuleContext, Violation


def cache_minimum(case: RuleContext) -> Iterator[Violation]:
    """Report a prefix that is too short to be cached."""
    if case.facts is None or case.spec.prompt.cache is None or case.model is None:
        return
    least = case.model.cache_minimum
    if least is not None and case.facts.prefix_tokens < least:
        message = (
            f"the shared prompt prefix has about {case.facts.prefix_tokens:,.0f} tokens, but {case.model.id} "
            f"needs at least {least:,} to cache it (platform.claude.com, prompt caching, 2026-08): "
            "the mark has no effect"
        )
        yield Violation("prompt.cache", message)


def cache_5m(case: RuleContext) -> Iterator[Violation]:
    """Report a cache that often expires before the next request of a batch is processed."""
    if case.is_batched and "5m" in find_cache_ttls(case.spec):
        at = "prompt.cache" if case.spec.prompt.cache == "5m" else "params"
        hits = load_catalogue().cache_hits
        message = (
            f"a batch can take hours, so a 5-minute cache is often missed (estimated hit rate: {hits['5m']:.0%}, "
            f"or {hits['1h']:.0%} with 1 hour): set 1h"
        )
        yield Violation(at, message)
