"""Rules about cache markers that have little or no effect."""

from collections.abc import Iterator
from typing import Any

from runner.pricing.rates import find_cache_ttls
from runner.rules.finding import RuleContext, Violation
from runner.spec.prompt import Block, Content, block_setting


def cache_minimum(case: RuleContext) -> Iterator[Violation]:
    """Report a prefix that is too short to be cached."""
    if case.facts is None or case.spec.prompt.mark_ttl is None or case.model is None:
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
        at = "prompt.cache" if case.spec.prompt.mark_ttl == "5m" else "params"
        message = (
            "a batch can take hours, and its requests do not read what the others of it write, so a cache of 5 "
            "minutes is mostly paid and missed: set 1h, for which one request is sent first to warm the cache"
        )
        yield Violation(at, message)


def cache_order(case: RuleContext) -> Iterator[Violation]:
    """Report a 1-hour cache mark after a 5-minute one."""
    is_after_short = False
    for setting, ttl in _list_cache_marks(case):
        if ttl == "1h" and is_after_short:
            message = (
                "the API rejects a 1-hour cache mark after a 5-minute one (platform.claude.com, prompt caching, "
                "and its message in public reports). Tools come first, then system, then messages: set 1h before "
                "it too, or 5m here"
            )
            yield Violation(setting, message)
        is_after_short = is_after_short or ttl == "5m"


def _list_cache_marks(case: RuleContext) -> Iterator[tuple[str, str]]:
    """Yield the setting and time to live of each cache mark, in the order in which the API reads a request."""
    prompt, tools = case.spec.prompt, case.params.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict):
            yield from _mark_of_mapping(f"params.tools.{index}", tool)
    if prompt.system is not None:
        yield from _marks_of_content("prompt.system", prompt.system)
    if prompt.mark_ttl is not None:
        yield "prompt.cache", prompt.mark_ttl
    for at, turn in prompt.turns():
        yield from _marks_of_content(at, turn.content)
    # The mark of the whole request stands at its last block.
    yield from _mark_of_mapping("params", case.params)


def _mark_of_mapping(at: str, value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    mark = value.get("cache_control")
    if isinstance(mark, dict):
        yield f"{at}.cache_control", str(mark.get("ttl") or "5m")


def _marks_of_content(at: str, content: Content) -> Iterator[tuple[str, str]]:
    for index, part in enumerate(content if isinstance(content, tuple) else ()):
        if isinstance(part, Block) and part.cache is not None:
            yield block_setting(at, index, "cache"), part.cache
