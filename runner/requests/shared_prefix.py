"""The beginning that all requests share, in the order in which the API reads them, and its cache mark."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from runner.requests.constant_params import ConstantParams, render_constants
from runner.requests.stored_params import Params
from runner.templates.templates import Templates

_TTL = "1h"
_Place = tuple[Any, str | int]
"""A mapping or list, and the key or index of a block or text in it."""


class SharedPrefix(NamedTuple):
    """The size in bytes of the JSON that all requests begin with: tools, system prompt, then the conversation.

    `marked_bytes` is its size up to the last cache mark in it, and `ttl` the time to live of that mark.
    """

    bytes: int
    marked_bytes: int = 0
    ttl: str | None = None


class CacheMark(NamedTuple):
    """The beginning of a request without and with a cache mark at the end of the shared prefix."""

    plain: bytes
    marked: bytes

    def add(self, params: Params) -> Params:
        """Return params with the mark."""
        sent, stored = (self.marked + text.removeprefix(self.plain) for text in params)
        return Params(sent, sent if params.sent is params.stored else stored)


def _list_places(params: dict[str, Any]) -> Iterator[_Place]:
    """Yield the places of all blocks and texts of a request, in the order in which the API reads them."""
    tools = params.get("tools")
    yield from ((tools, index) for index in range(len(tools or ())))
    contents = [(params, "system")] if "system" in params else []
    for holder, name in [*contents, *((turn, "content") for turn in params["messages"])]:
        if isinstance(holder[name], list):
            yield from ((holder[name], index) for index in range(len(holder[name])))
        else:
            yield holder, name


def _list_shared_places(constant: ConstantParams, params: dict[str, Any]) -> Iterator[_Place]:
    for holder, key in _list_places(params):
        if not constant.is_constant(holder[key]):
            return
        yield holder, key


def _measure_block(block: Any) -> int:
    """Return the bytes of the JSON of a block; of a text, those of the text alone."""
    if isinstance(block, dict):
        rest = {name: value for name, value in block.items() if name != "cache_control"}
        block = rest["text"] if rest.keys() == {"type", "text"} else rest
    return len(msgspec.json.encode(block))


def measure_shared_prefix(templates: Templates) -> SharedPrefix:
    """Return the size of what all requests begin with. Raises InputError for a text that cannot be rendered."""
    constant = render_constants(templates)
    found = SharedPrefix(0)
    for holder, key in _list_shared_places(constant, constant.params):
        block = holder[key]
        found = found._replace(bytes=found.bytes + _measure_block(block))
        mark = block.get("cache_control") if isinstance(block, dict) else None
        if isinstance(mark, dict):
            found = SharedPrefix(found.bytes, found.bytes, str(mark.get("ttl") or "5m"))
    return found


def make_cache_mark(templates: Templates) -> CacheMark | None:
    """Return the mark at the end of the shared prefix, or None if requests share none. Raises InputError."""
    constant = render_constants(templates)
    marked = copy.deepcopy(constant.params)
    places = list(_list_shared_places(constant, marked))
    if not places:
        return None
    holder, key = places[-1]
    block, mark = holder[key], {"cache_control": {"type": "ephemeral", "ttl": _TTL}}
    holder[key] = {**block, **mark} if isinstance(block, dict) else [{"type": "text", "text": block, **mark}]
    return CacheMark(constant.first_bytes(constant.params), constant.first_bytes(marked))
