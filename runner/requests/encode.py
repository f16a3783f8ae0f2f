"""Encode each row as the bytes of one request.

Everything that is the same for all rows is encoded once. Only the rendered texts are encoded per row.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from runner.errors import InputError
from runner.pricing.models import find_model
from runner.requests.allowed_files import AllowedFiles
from runner.requests.attachment_limits import check_attachment_limits
from runner.requests.attachment_totals import AttachmentTotals, RowRejected
from runner.requests.attachments import AttachedFile, AttachmentEncoder
from runner.spec.prompt import Block, Content, Prompt, block_setting
from runner.spec.spec import Spec
from runner.spec.structured.sent_schema import make_sent_schema, make_tool_schema
from runner.templates.templates import Renderer, Templates

_TOOL_DESCRIPTION = "Records the result. Call it exactly once, with the whole result as its input."


_SCHEMA_STATEMENT = (
    "Answer with one JSON value and nothing else: no words around it, no Markdown. It must be valid against this "
    "JSON schema:\n"
)


Placeholder = tuple[str, str, Block | None]
"""The dotted path of a template, its text, and the block whose source it renders, or None."""


_Part = bytes | tuple[Placeholder, Renderer]


class EncodedRequest(NamedTuple):
    """The JSON of one row's `params`, or the problem that prevents it.

    `size_adjustment` corrects the byte length of the params for attachments, whose token count does not follow
    from their size. It can be negative.
    """

    params: bytes
    size_adjustment: int = 0
    problem: str | None = None


RequestEncoder = Callable[[Mapping[str, Any]], EncodedRequest]
"""A function that encodes the request of one row from the names of its templates."""


def _build_params(spec: Spec, add_placeholder: Callable[[Placeholder], str]) -> dict[str, Any]:
    """Return the params of a request, in which `add_placeholder` replaces each template."""

    def content(at: str, written: Content) -> Any:
        if isinstance(written, str):
            return add_placeholder((at, written, None))
        return [_build_block(at, index, part, add_placeholder) for index, part in enumerate(written)]

    params = dict(spec.params)
    if spec.is_schema_sent and spec.output.schema is not None:
        form = {"type": "json_schema", "schema": make_sent_schema(spec.output.schema).schema}
        params["output_config"] = {**(params.get("output_config") or {}), "format": form}
    if isinstance(params.get("tools"), list):
        params["tools"] = [_build_tool(tool) for tool in params["tools"]]
    if spec.output.tool is not None:
        params = _add_output_tool(spec, params)
    system = None if spec.prompt.system is None else content("prompt.system", spec.prompt.system)
    if spec.output.enforce == "here":
        system = _state_schema(system, spec.output.schema)
    if system is not None:
        params["system"] = _add_cache_control(system, spec.prompt.cache)
    turns = spec.prompt.turns()
    params["messages"] = [{"role": turn.role, "content": content(at, turn.content)} for at, turn in turns]
    return params


def build_params_without_prompt(spec: Spec) -> dict[str, Any]:
    """Return the params that all requests of a spec share, without its prompt."""
    return _build_params(replace(spec, prompt=Prompt()), lambda _: "")


def _build_block(
    setting: str, index: int, part: str | Block, add_placeholder: Callable[[Placeholder], str]
) -> dict[str, Any]:
    """Return one content block in the form of the API."""
    if isinstance(part, str):
        return {"type": "text", "text": add_placeholder((block_setting(setting, index), part, None))}
    given = (block_setting(setting, index, part.given), part.value)
    block: dict[str, Any] = {"type": part.type}
    if part.type == "text":
        block["text"] = add_placeholder((*given, None))
    else:
        block["source"] = add_placeholder((*given, part))
    for name in ("title", "context"):
        if (written := getattr(part, name)) is not None:
            block[name] = add_placeholder((block_setting(setting, index, name), written, None))
    if part.citations:
        block["citations"] = {"enabled": True}
    if part.cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": part.cache}
    return block


def is_thinking_on(params: Mapping[str, Any]) -> bool:
    """Return whether the model thinks before its answer: always, or because `thinking` asks for it.

    The API then rejects a forced tool call: "Thinking may not be enabled when tool_choice forces tool use".
    """
    given, model = params.get("thinking"), find_model(str(params["model"]))
    if isinstance(given, dict):
        return given.get("type") != "disabled"
    return model is not None and model.always_thinks


def _build_tool(tool: Any) -> Any:
    """Return a tool as it is sent: the schema of a strict one is enforced as that of an output is."""
    schema = tool.get("input_schema") if isinstance(tool, dict) and tool.get("strict") is True else None
    if not isinstance(schema, dict) or (sent := make_sent_schema(schema)).obstacles:
        return tool
    return {**tool, "input_schema": sent.schema}


def _state_schema(system: Any, schema: Any) -> Any:
    """Return a system prompt that ends with the schema of the answer."""
    text = f"{_SCHEMA_STATEMENT}{json.dumps(schema, ensure_ascii=False)}"
    if system is None:
        return text
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return [*blocks, {"type": "text", "text": text}]


def _add_output_tool(spec: Spec, params: dict[str, Any]) -> dict[str, Any]:
    """Add the tool whose input is the output, and force its use if the model and its thinking allow that."""
    tools, name = list(params.get("tools") or ()), spec.output.tool
    if not any(isinstance(tool, dict) and tool.get("name") == name for tool in tools):
        schema = make_tool_schema(spec.output.schema or {})
        tools.append({"name": name, "description": _TOOL_DESCRIPTION, "input_schema": schema})
    model = find_model(str(params["model"]))
    is_refused = model is not None and "forced_tool_choice" in model.refuses
    is_forced = "tool_choice" not in params and not is_refused and not is_thinking_on(params)
    choice = {"tool_choice": {"type": "tool", "name": name}} if is_forced else {}
    return {**params, "tools": tools, **choice}


def _add_cache_control(system: Any, ttl: str | None) -> Any:
    if ttl is None:
        return system
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return [*blocks[:-1], {**blocks[-1], "cache_control": {"type": "ephemeral", "ttl": ttl}}]


def _encode_text(templates: Templates, setting: str, render: Renderer, names: Mapping[str, Any]) -> bytes:
    text = render(names)
    if not text or text.isspace():
        raise InputError(
            [templates.spec.problem(setting, f"{setting} renders to empty text, which the API rejects")]
        )
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError as error:
        raise InputError(
            [templates.spec.problem(setting, f"{setting} contains half of a surrogate pair")]
        ) from error


def _encode_placeholder(
    templates: Templates,
    attachments: AttachmentEncoder,
    placeholder: Placeholder,
    renderer: Renderer,
    names: Mapping[str, Any],
    totals: AttachmentTotals,
) -> bytes:
    """Return the JSON that replaces a placeholder. Raises InputError and RowRejected."""
    at, _, block = placeholder
    if block is None:
        return _encode_text(templates, at, renderer, names)
    return attachments.encode_source(block, renderer(names), totals)


def _ignore_attachment(_: AttachedFile) -> None:
    """Ignore attached files: the default for `on_attach`."""


def _render_constant_parts(templates: Templates) -> list[_Part]:
    """Return the parts of a request: bytes that are the same for all rows, and placeholders with their renderer.

    Raises InputError.
    """
    placeholders: list[Placeholder] = []
    marker = f"slot-{secrets.token_hex(16)}-"

    def add_placeholder(one: Placeholder) -> str:
        placeholders.append(one)
        return f"{marker}{len(placeholders) - 1}"

    encoded = msgspec.json.encode(_build_params(templates.spec, add_placeholder))
    parts: list[_Part] = [b""]
    for index, piece in enumerate(re.split(b'"%b(\\d+)"' % marker.encode(), encoded)):
        if index % 2 == 0:
            _append_bytes(parts, piece)
            continue
        placeholder = placeholders[int(piece)]
        render = templates.make_renderer(*placeholder[:2])
        if placeholder[2] is None and templates.is_constant(*placeholder[:2]):
            _append_bytes(parts, _encode_text(templates, placeholder[0], render, templates.variables({})))
        else:
            parts += [(placeholder, render), b""]
    return parts


def make_request_encoder(
    templates: Templates, on_attach: Callable[[AttachedFile], None] = _ignore_attachment
) -> RequestEncoder:
    """Return the function that encodes the request of one row from its names (see `Templates.variables`).

    Building it renders the templates that are the same for all rows. Raises InputError, as does each call.
    `on_attach` is called with the files that requests attach.
    """
    parts = _render_constant_parts(templates)
    if any(not isinstance(part, bytes) and part[0][2] is not None for part in parts):
        return _make_attachment_encoder(templates, parts, on_attach)

    def encode(names: Mapping[str, Any]) -> EncodedRequest:
        return EncodedRequest(
            b"".join(
                [
                    part if isinstance(part, bytes) else _encode_text(templates, part[0][0], part[1], names)
                    for part in parts
                ]
            )
        )

    return encode


def _make_attachment_encoder(
    templates: Templates,
    parts: list[_Part],
    on_attach: Callable[[AttachedFile], None],
) -> RequestEncoder:
    """Return the function that encodes requests with documents or images."""
    attachments = AttachmentEncoder(AllowedFiles(templates.spec), on_attach)

    def encode(names: Mapping[str, Any]) -> EncodedRequest:
        totals = AttachmentTotals()
        try:
            pieces = [
                part
                if isinstance(part, bytes)
                else _encode_placeholder(templates, attachments, *part, names, totals)
                for part in parts
            ]
            check_attachment_limits(templates.spec, totals)
        except RowRejected as error:
            return EncodedRequest(b"", problem=str(error))
        return EncodedRequest(b"".join(pieces), totals.size_adjustment)

    return encode


def count_prefix_bytes(templates: Templates) -> int:
    """Return the size in bytes of the JSON that all requests start with: tools, then system prompt.

    That is the order in which the API reads them. The system prompt counts up to its first block that differs
    between rows.
    """
    spec = templates.spec
    size = len(msgspec.json.encode(spec.params["tools"])) if spec.params.get("tools") else 0
    system = spec.prompt.system
    written = [("prompt.system", system)] if isinstance(system, str) else []
    if isinstance(system, tuple):
        texts = [part.value if isinstance(part, Block) else part for part in system]
        written = [(block_setting("prompt.system", index), text) for index, text in enumerate(texts)]
    for at, text in written:
        if not templates.is_constant(at, text):
            break
        size += len(_encode_text(templates, at, templates.make_renderer(at, text), templates.variables({})))
    return size


def _append_bytes(parts: list[Any], piece: bytes) -> None:
    parts[-1] += piece
