"""What the Messages API would say to one request: an answer, or the error that its parameters earn."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from runner.simulator.answers import answer

VERSION = "2026-10-21"
# Parameters that an item of a batch cannot have (platform.claude.com, batch processing, 2026-08).
_NOT_IN_BATCHES = (
    "stream",
    "speed",
    "store",
    "previous_thread_event_id",
    "cache_hint",
    "context_hint",
    "fallbacks",
)
# Refused even at their defaults since API version 2026-10-21 (platform.claude.com, migration guide).
_SAMPLING = ("temperature", "top_p", "top_k")


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: msgspec.Raw


class _OutputConfig(msgspec.Struct):
    format: _Format | None = None


class _Params(msgspec.Struct):
    model: str
    max_tokens: int
    messages: list[dict[str, Any]]
    output_config: _OutputConfig | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] = {}


_decode = msgspec.json.Decoder(_Params).decode


class Invalid(Exception):
    """The request is refused; the text is the API's message."""


def _check(raw: bytes, *, version: str) -> _Params:
    try:
        params = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(str(error)) from error
    if params.max_tokens < 1:
        raise Invalid("max_tokens: must be greater than or equal to 1")
    if not params.messages:
        raise Invalid("messages: at least one message is required")
    if version >= VERSION and any(b'"' + name.encode() + b'"' in raw for name in _SAMPLING):
        given: Mapping[str, Any] = msgspec.json.decode(raw)
        for name in _SAMPLING:
            if name in given:
                raise Invalid(f"{name}: not supported since API version {VERSION}")
    return params


def _check_batched(raw: bytes) -> None:
    if not any(b'"' + name.encode() + b'"' in raw for name in _NOT_IN_BATCHES):
        return
    given = msgspec.json.decode(raw)
    for name in _NOT_IN_BATCHES:
        if given.get(name):
            raise Invalid(f"{name}: not supported in a Message Batch")


def _last_text(messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content")
    if isinstance(content, str):
        return content
    try:
        return " ".join([block.get("text") or block.get("content", "") for block in content or ()])
    except (TypeError, AttributeError) as error:
        raise Invalid("messages: content must be text or a list of content blocks") from error


def _called(params: _Params) -> dict[str, Any] | None:
    """The client tool that is called: the one that is forced, or the only one that is offered."""
    tools = [tool for tool in params.tools if "input_schema" in tool]
    if params.tool_choice.get("type") == "tool":
        return next((tool for tool in tools if tool.get("name") == params.tool_choice.get("name")), None)
    return tools[0] if len(tools) == 1 and params.tool_choice.get("type") != "none" else None


def _tokens(text: bytes | str) -> int:
    return len(text) // 4 + 1


def count_tokens(raw: bytes) -> int:
    """About how many input tokens a request has: a token is about four bytes. Raises Invalid."""
    try:
        msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(str(error)) from error
    return _tokens(raw)


def message(raw: bytes, *, version: str, is_batched: bool) -> dict[str, Any]:
    """The message that answers the params `raw`, seeded by them. Raises Invalid."""
    params = _check(raw, version=version)
    if is_batched:
        _check_batched(raw)
    form = params.output_config.format if params.output_config else None
    asked = _last_text(params.messages)
    if not asked:
        raise Invalid("messages: text content blocks must be non-empty")
    tool = None if form else _called(params)
    schema = msgspec.json.encode(tool.get("input_schema", {})) if tool else bytes(form.schema) if form else None
    text = answer(schema, text=asked, seed=raw)
    if text is None:
        at = f"tools.{tool['name']}.input_schema" if tool else "output_config.format.schema"
        raise Invalid(f"{at}: the simulator could not draw an answer for it")
    content: dict[str, Any] = {"type": "text", "text": text, "citations": None}
    if tool:
        given = msgspec.json.decode(text)
        content = {"type": "tool_use", "id": "toolu_simulated", "name": tool["name"], "input": given}
    return {
        "id": "msg_" + hashlib.sha256(raw).hexdigest()[:24],
        "type": "message",
        "role": "assistant",
        "model": params.model,
        "content": [content],
        "container": None,
        "stop_reason": "tool_use" if tool else "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": _tokens(raw),
            "output_tokens": _tokens(text),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "inference_geo": "global",
            "server_tool_use": None,
            "service_tier": "batch" if is_batched else "standard",
        },
    }
