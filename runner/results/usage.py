"""Tokens that one answer used, by the API's names; a field that cannot be read is named, not taken as zero."""

from typing import Annotated, Any

import msgspec

# Bounded, because a sum of unbounded floats can be infinite.
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**15)] | Annotated[float, msgspec.Meta(ge=0, le=1e15)]
TokenCount = _Tokens | None


class CacheCreation(msgspec.Struct):
    """Tokens written to the cache, by their time to live."""

    ephemeral_5m_input_tokens: TokenCount = 0
    ephemeral_1h_input_tokens: TokenCount = 0


class ServerToolUse(msgspec.Struct):
    """Server tool calls that are billed per call."""

    web_search_requests: TokenCount = 0


class Usage(msgspec.Struct):
    """Token counts under the API's names; null counts as zero.

    In a total, `unreadable` counts the answers in which a field could not be read, by the name of the field.
    """

    input_tokens: TokenCount = 0
    output_tokens: TokenCount = 0
    cache_creation_input_tokens: TokenCount = 0
    cache_read_input_tokens: TokenCount = 0
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    inference_geo: str | None = None
    unreadable: dict[str, int] = {}

    def add(self, other: "Usage") -> None:
        """Add the tokens of another usage to these."""
        # Written out, because this runs once per row and a loop over the names takes five times as long.
        self.input_tokens = int((self.input_tokens or 0) + (other.input_tokens or 0))
        self.output_tokens = int((self.output_tokens or 0) + (other.output_tokens or 0))
        written = (self.cache_creation_input_tokens or 0) + (other.cache_creation_input_tokens or 0)
        self.cache_creation_input_tokens = int(written)
        self.cache_read_input_tokens = int(
            (self.cache_read_input_tokens or 0) + (other.cache_read_input_tokens or 0)
        )
        for name, answers in other.unreadable.items():
            self.unreadable[name] = self.unreadable.get(name, 0) + answers


class _Required(msgspec.Struct):
    """The counts that each answer has (SDK 2.14, types/usage.py)."""

    input_tokens: _Tokens
    output_tokens: _Tokens


_decode_usage = msgspec.json.Decoder(Usage).decode
_check_required = msgspec.json.Decoder(_Required).decode
_FIELD_TYPES: dict[str, Any] = {
    "input_tokens": _Tokens,
    "output_tokens": _Tokens,
    "cache_creation_input_tokens": TokenCount,
    "cache_read_input_tokens": TokenCount,
    "cache_creation": CacheCreation | None,
    "server_tool_use": ServerToolUse | None,
    "inference_geo": str | None,
}
_OPTIONAL = frozenset(_FIELD_TYPES) - {"input_tokens", "output_tokens"}


def parse_usage(usage: msgspec.Raw | None) -> Usage:
    """Return the token counts in a usage of the API, and in `unreadable` the fields that cannot be read."""
    if usage is None:
        return Usage(unreadable={"usage": 1})
    try:
        _check_required(usage)
        found = _decode_usage(usage)
    except msgspec.DecodeError:
        return _parse_fields(usage)
    found.unreadable = {}
    return found


def _parse_fields(usage: msgspec.Raw) -> Usage:
    """Read each field of a usage on its own, so that one of a new shape does not hide the others."""
    try:
        fields = msgspec.json.decode(usage, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return Usage(unreadable={"usage": 1})
    found = Usage(unreadable={})
    for name, kind in _FIELD_TYPES.items():
        if name not in fields and name in _OPTIONAL:
            continue
        try:
            setattr(found, name, msgspec.json.decode(fields.get(name, b""), type=kind))
        except msgspec.DecodeError:
            found.unreadable[name] = 1
    return found
