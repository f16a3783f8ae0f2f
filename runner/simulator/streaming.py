"""The server-sent events of a streamed message, as the SDK's helpers read them."""

import json
from collections.abc import Iterator
from typing import Any

from runner.simulator.responses import Response

_PIECE_CHARS = 24


def stream_response(message: dict[str, Any]) -> Response:
    """Return the response that sends a message as a stream of events."""
    body = b"".join(_encode_event(event) for event in list_events(message))
    return Response(body, headers={"content-type": "text/event-stream", "content-length": str(len(body))})


def list_events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a message: its start, each block in pieces, its usage and its end."""
    usage = {**message["usage"], "output_tokens": 1}
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": _empty_block(block)}
        for delta in _list_deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {name: message[name] for name in ("stop_reason", "stop_sequence", "container")}
    yield {"type": "message_delta", "delta": ended, "usage": message["usage"]}
    yield {"type": "message_stop"}


def _empty_block(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "text":
        return {**block, "text": "", "citations": None}
    return {**block, "input": {}} if block["type"] == "tool_use" else block


def _list_deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "tool_use":
        text, kind, name = json.dumps(block["input"]), "input_json_delta", "partial_json"
    else:
        text, kind, name = block.get("text", ""), "text_delta", "text"
    for start in range(0, len(text), _PIECE_CHARS):
        yield {"type": kind, name: text[start : start + _PIECE_CHARS]}
    for citation in block.get("citations") or ():
        yield {"type": "citations_delta", "citation": citation}


def _encode_event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
