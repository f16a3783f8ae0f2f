"""Messages API: the response to one request, or the error about its parameters."""

import base64
import hashlib
from typing import Any, Literal, cast

import msgspec

from runner.simulator.answers import generate_answer
from runner.simulator.asked_schema import find_stated_schema
from runner.simulator.citations import make_text_blocks
from runner.simulator.refusals import find_refusal
from runner.simulator.token_count import count_input_tokens, count_text_tokens

API_VERSION = "2026-10-21"
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions of msgspec for a body that is not valid JSON or has the wrong fields."""

# Parameters that requests in a batch must not have (platform.claude.com, batch processing, 2026-08).
_NOT_IN_BATCHES = (
    "stream",
    "speed",
    "store",
    "previous_thread_event_id",
    "cache_hint",
    "context_hint",
    "fallbacks",
)
# Rejected, even with their default values, since API version 2026-10-21 (platform.claude.com, migration guide).
_SAMPLING = ("temperature", "top_p", "top_k")
_SOURCE_KEYS = {
    "base64": {"media_type", "data"},
    "url": {"url"},
    "file": {"file_id"},
    "text": {"media_type", "data"},
}
_MAGIC = {
    "application/pdf": b"%PDF-", "image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}  # fmt: skip


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
    system: Any = None
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] = {}


_decode = msgspec.json.Decoder(_Params).decode


class InvalidRequest(Exception):
    """The API rejects the request; the text is its message."""


def _check_params(raw: bytes, *, version: str) -> _Params:
    try:
        params = _decode(raw)
    except DECODE_ERRORS as error:
        raise InvalidRequest(str(error)) from error
    if params.max_tokens < 1:
        raise InvalidRequest("max_tokens: must be greater than or equal to 1")
    if not params.messages:
        raise InvalidRequest("messages: at least one message is required")
    if version >= API_VERSION and any(b'"' + name.encode() + b'"' in raw for name in _SAMPLING):
        given: dict[str, Any] = msgspec.json.decode(raw)
        for name in _SAMPLING:
            if name in given:
                raise InvalidRequest(f"{name}: not supported since API version {API_VERSION}")
    return params


def _check_batched(raw: bytes) -> None:
    if not any(b'"' + name.encode() + b'"' in raw for name in _NOT_IN_BATCHES):
        return
    given = msgspec.json.decode(raw)
    for name in _NOT_IN_BATCHES:
        if given.get(name):
            raise InvalidRequest(f"{name}: not supported in a Message Batch")


def _check_sources(messages: list[dict[str, Any]]) -> None:
    """Raise InvalidRequest if the source of a document or image is invalid or does not have the declared type."""
    for turn, message in enumerate(messages):
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            source = block.get("source")
            at = f"messages.{turn}.content.{index}.{block.get('type')}.source"
            if block.get("type") not in ("document", "image"):
                continue
            if message.get("role") == "assistant":
                raise InvalidRequest(f"{at}: not allowed in an assistant message")
            if not isinstance(source, dict) or not source.keys() >= _SOURCE_KEYS.get(
                str(source.get("type")), {""}
            ):
                raise InvalidRequest(f"{at}: Input should be a base64, url, file or text source")
            if source["type"] == "base64":
                _check_data(at, source)
            if str(source.get("file_id", "file_")).removeprefix("file_") == source.get("file_id"):
                raise InvalidRequest(f"{at}.file_id: not found")


def _check_data(at: str, source: dict[str, Any]) -> None:
    try:
        data = base64.b64decode(source["data"], validate=True)
    except ValueError as error:
        raise InvalidRequest(f"{at}.data: not base64") from error
    if not data.startswith(_MAGIC.get(source["media_type"], b"")) or source["media_type"] not in _MAGIC:
        raise InvalidRequest(f"{at}: the bytes are not {source['media_type']}")


def _block_text(block: dict[str, Any]) -> str:
    if "text" in block:
        return cast(str, block["text"])
    content = block.get("content")
    return content if isinstance(content, str) else str(block["type"])


def _last_text(messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content")
    if isinstance(content, str):
        return content
    try:
        return " ".join([_block_text(block) for block in content or ()])
    except (TypeError, AttributeError, KeyError) as error:
        raise InvalidRequest("messages: content must be text or a list of content blocks") from error


def _choose_tool(params: _Params) -> dict[str, Any] | None:
    """Return the client tool to call: the forced one, or the only one offered, or None."""
    tools = [tool for tool in params.tools if "input_schema" in tool]
    if params.tool_choice.get("type") == "tool":
        return next((tool for tool in tools if tool.get("name") == params.tool_choice.get("name")), None)
    return tools[0] if len(tools) == 1 and params.tool_choice.get("type") != "none" else None


def count_tokens(raw: bytes) -> int:
    """Estimate the input tokens of a request. Raises InvalidRequest if it is not a JSON object."""
    try:
        given = msgspec.json.decode(raw, type=dict[str, Any])
    except DECODE_ERRORS as error:
        raise InvalidRequest(str(error)) from error
    messages = given.get("messages")
    return count_input_tokens(raw, messages if isinstance(messages, list) else [], str(given.get("model")))


def _estimate_usage(raw: bytes, params: _Params, text: str, *, is_batched: bool) -> dict[str, Any]:
    """Return the usage of the request `raw` whose answer is `text`."""
    return {
        "input_tokens": count_input_tokens(raw, params.messages, params.model),
        "output_tokens": count_text_tokens(text),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "inference_geo": "global",
        "server_tool_use": None,
        "service_tier": "batch" if is_batched else "standard",
    }


def make_pause(done: int) -> dict[str, Any]:
    """Return the fields of a response that pauses after one more search; `done` searches came before it."""
    call = {"type": "server_tool_use", "id": f"srvtoolu_{done}", "name": "web_search", "input": {"query": "more"}}
    found = {"type": "web_search_tool_result", "tool_use_id": call["id"], "content": []}
    return {"content": [call, found], "stop_reason": "pause_turn", "container": {"id": "container_1"}}


def make_message(raw: bytes, *, version: str, is_batched: bool) -> dict[str, Any]:
    """Answer the params `raw` with a message that they also seed. Raises InvalidRequest if they are rejected."""
    params = _check_params(raw, version=version)
    if is_batched:
        _check_batched(raw)
    if (refusal := find_refusal(raw, is_batched=is_batched)) is not None:
        raise InvalidRequest(refusal)
    form = params.output_config.format if params.output_config else None
    if b'"source"' in raw:
        _check_sources(params.messages)
    asked = _last_text(params.messages)
    if not asked:
        raise InvalidRequest("messages: text content blocks must be non-empty")
    tool = None if form else _choose_tool(params)
    if tool:
        schema: bytes | None = msgspec.json.encode(tool.get("input_schema", {}))
    else:
        schema = bytes(form.schema) if form else find_stated_schema(params.system)
    text = generate_answer(schema, text=asked, seed=raw)
    if text is None:
        at = f"tools.{tool['name']}.input_schema" if tool else "output_config.format.schema"
        raise InvalidRequest(f"{at}: the simulator could not draw an answer for it")
    if tool:
        given = msgspec.json.decode(text)
        content = [{"type": "tool_use", "id": "toolu_simulated", "name": tool["name"], "input": given}]
    else:
        content = make_text_blocks(text, params.messages, params.tools)
    return {
        "id": "msg_" + hashlib.sha256(raw).hexdigest()[:24],
        "type": "message",
        "role": "assistant",
        "model": params.model,
        "content": content,
        "container": None,
        "stop_reason": "tool_use" if tool else "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": _estimate_usage(raw, params, text, is_batched=is_batched),
    }
