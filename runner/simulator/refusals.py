"""Find what the API is known to refuse in a request, with the rules of `validate`."""

from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from runner.pricing.models import find_model
from runner.rules.finding import RuleContext
from runner.rules.run import ERROR, RULES
from runner.spec.prompt import Block, Content, Prompt, Turn
from runner.spec.schema_errors import find_schema_mistake
from runner.spec.spec import Source, Spec
from runner.spec.structured.enforcement import find_schema_in_params
from runner.spec.structured.sent_schema import make_sent_schema

# Rules about jobs, and one whose parameters depend on the version of the API (see `messages`).
_LEFT_OUT = (
    "constant-prompt", "sink-overwrites-input", "cap-without-price", "cap-with-server-tools",
    "cap-with-unknown-files", "sampling",
)  # fmt: skip
# Without one of these, a conversation is one plain text of the user to every rule.
_TELLING = (b'"assistant"', b'"citations"', b'"cache_control"')
_TEXT = "text"
_FORMAT = "output_config.format.schema"

_Parts = tuple[tuple[str, bytes], ...]

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def find_refusal(raw: bytes, *, is_batched: bool) -> str | None:
    """Return why the API refuses the params `raw`, a JSON object, or None. Equal params are examined once."""
    given = _decode(raw)
    if not is_batched:
        given.pop("stream", None)  # refused by the runner, and taken by the API
    parts = {name: bytes(given.pop(name)) for name in ("messages", "system") if name in given}
    told = tuple(parts.items()) if any(word in raw for word in _TELLING) else ()
    return _examine(tuple((name, bytes(value)) for name, value in given.items()), told, is_batched)


@lru_cache(maxsize=64)
def _examine(params: _Parts, told: _Parts, is_batched: bool) -> str | None:  # noqa: FBT001 - a cache key
    given, conversation = ({name: msgspec.json.decode(value) for name, value in part} for part in (params, told))
    if find_model(str(given.get("model"))) is None:
        return f"model: {given.get('model')}"
    return next(_list_refusals(given, conversation, is_batched), None)


def _list_refusals(params: dict[str, Any], told: Mapping[str, Any], is_batched: bool) -> Iterator[str]:  # noqa: FBT001 - as `_examine`
    prompt = Prompt(_read_content(told.get("system")), tuple(_read_turns(told.get("messages"))))
    spec = Spec(
        path=Path("request"), root=Path(), name="request", source=Source("jsonl", None, {}), prompt=prompt,
        params=params, sinks=(), mode="batch" if is_batched else "sync",
    )  # fmt: skip
    case = RuleContext(spec, None, (), date.today())  # noqa: DTZ011 - the day on which models retire
    schemas = dict(_list_enforced_schemas(params))
    for at, schema in schemas.items():  # first, since rules take schemas for valid
        if (mistake := find_schema_mistake(schema)) is not None:
            yield f"{at}: {mistake[0]}"
            return
    if _FORMAT in schemas:
        yield from _refuse_schema(_FORMAT, schemas[_FORMAT])
    for name, (severity, rule) in RULES.items():
        if severity == ERROR and name not in _LEFT_OUT:
            yield from (
                f"{one.setting.removeprefix('params.')}: {one.message}"
                for one in rule(case)
                if one.severity in (None, ERROR)
            )


def _list_enforced_schemas(params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schemas of strict tools and of the format, with their places."""
    tools, form = params.get("tools"), find_schema_in_params(params, None, None)
    for at, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and tool.get("strict") is True and isinstance(tool.get("input_schema"), dict):
            yield f"tools.{at}.input_schema", tool["input_schema"]
    if form is not None:
        yield _FORMAT, form


def _refuse_schema(at: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield what structured outputs do not take of a schema that is sent."""
    sent = make_sent_schema(schema)
    yield from (f"{at}: {one} is not supported" for one in sent.obstacles if not one.is_doubtful)
    for path, keyword in sent.moved:
        if keyword != "oneOf":  # known to be taken as anyOf
            yield f"{at}: For {'/'.join(('#', *path))}, property '{keyword}' is not supported"
    for path in sent.closed:
        yield f"{at}: For {'/'.join(('#', *path))}, 'additionalProperties' must be explicitly set to false"


def _read_turns(messages: Any) -> Iterator[Turn]:
    for turn in messages if isinstance(messages, list) else ({"role": "user"},):
        if isinstance(turn, dict) and not _is_paused(turn):
            yield Turn(str(turn.get("role")), _read_content(turn.get("content")) or _TEXT)


def _is_paused(turn: dict[str, Any]) -> bool:
    """Return whether a turn was paused between calls of server tools; the API continues it, unlike a prefill."""
    content = turn.get("content")
    last = content[-1] if isinstance(content, list) and content else None
    return turn.get("role") == "assistant" and isinstance(last, dict) and last.get("type") != "text"


def _read_content(content: Any) -> Content | None:
    """Return the content of a turn, as far as rules look at it."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    return tuple(_read_block(block) for block in content if isinstance(block, dict))


def _read_block(block: dict[str, Any]) -> Block:
    mark, citations = block.get("cache_control"), block.get("citations")
    return Block(
        str(block.get("type")),
        "text",
        str(block.get("text", _TEXT)),
        citations=isinstance(citations, dict) and bool(citations.get("enabled")),
        cache=str(mark.get("ttl") or "5m") if isinstance(mark, dict) else None,
    )
