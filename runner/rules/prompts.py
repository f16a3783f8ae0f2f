"""Cache marks that do nothing."""

from collections.abc import Iterator

from runner.cost import cache_ttls, catalogue
from runner.rules.case import Case, Mistake


def cache_minimum(case: Case) -> Iterator[Mistake]:
    """A prefix that is too short to be cached."""
    if case.facts is None or case.spec.prompt.cache is None or case.model is None:
        return
    least = case.model.cache_minimum
    if least is not None and case.facts.prefix_tokens < least:
        message = (
            f"the part that all prompts share has about {case.facts.prefix_tokens:,.0f} tokens, and "
            f"{case.model.id} caches from {least:,} on (platform.claude.com, prompt caching, 2026-08): the "
            "mark does nothing"
        )
        yield Mistake("prompt.cache", message)


def cache_5m(case: Case) -> Iterator[Mistake]:
    """A cache that has gone cold before the next request of a batch is processed."""
    if case.is_batched and "5m" in cache_ttls(case.spec):
        at = "prompt.cache" if case.spec.prompt.cache == "5m" else "params"
        hits = catalogue().cache_hits
        message = (
            f"a batch is processed over up to hours, and misses a cache of five minutes often (we reckon with "
            f"{hits['5m']:.0%} hits, and {hits['1h']:.0%} for an hour): set 1h"
        )
        yield Mistake(at, message)
