"""Tokens that one answer used, by the API's names."""

from typing import Annotated

import msgspec

# Bounded, because a sum of unbounded floats can be infinite.
TokenCount = Annotated[int, msgspec.Meta(ge=0, le=10**15)] | Annotated[float, msgspec.Meta(ge=0, le=1e15)] | None


class CacheCreation(msgspec.Struct):
    """Tokens written to the cache, by their time to live."""

    ephemeral_5m_input_tokens: TokenCount = 0
    ephemeral_1h_input_tokens: TokenCount = 0


class ServerToolUse(msgspec.Struct):
    """Server tool calls that are billed per call."""

    web_search_requests: TokenCount = 0


class Usage(msgspec.Struct):
    """Token counts under the API's names; null counts as zero."""

    input_tokens: TokenCount = 0
    output_tokens: TokenCount = 0
    cache_creation_input_tokens: TokenCount = 0
    cache_read_input_tokens: TokenCount = 0
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    inference_geo: str | None = None

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


def parse_usage(usage: msgspec.Raw) -> Usage:
    """Return the token counts in a usage of the API; zero if this version does not know its shape."""
    try:
        return _decode_usage(usage)
    except msgspec.DecodeError:
        return Usage()


_decode_usage = msgspec.json.Decoder(Usage).decode
