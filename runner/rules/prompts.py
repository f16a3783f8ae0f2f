"""Rules about cache marks that have no effect."""

from collections.abc import Iterator

from runner.cost import cache_ttls, catalogue
from runner.rules.case import Case, Mistake


def cache_minimum(case: Case) -> Iterator[Mistake]:
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
        yield Mistake("prompt.cache", message)


def cache_5m(case: Case) -> Iterator[Mistake]:
    """Report a cache that often expires before the next request of a batch is processed."""
    if case.is_batched and "5m" in cache_ttls(case.spec):
        at = "prompt.cache" if case.spec.prompt.cache == "5m" else "params"
        hits = catalogue().cache_hits
        message = (
            f"a batch can take hours, so a 5-minute cache is often missed (estimated hit rate: {hits['5m']:.0%}, "
            f"or {hits['1h']:.0%} with 1 hour): set 1h"
        )
        yield Mistake(at, message)
