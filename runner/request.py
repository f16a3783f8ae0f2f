"""Encode each row as the bytes of one request.

Everything that is the same for all rows is encoded once. Only the rendered texts are encoded per row.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from runner.attachments import Attached, Attachments
from runner.cost import known_model
from runner.errors import InputError
from runner.load import Load, Unsendable, check_load
from runner.prompt.templates import Renderer, Templates
from runner.reach import Reach
from runner.spec.spec import Block, Content, Spec, block_place

_RECORD = "Records the result. Call it exactly once, with the whole result as its input."

Slot = tuple[str, str, Block | None]
"""The dotted path of a template, its text, and the block whose source it renders, or None."""


class Encoded(NamedTuple):
    """The JSON of one row's `params`, or the problem that prevents it.

    `extra` corrects the byte length of the params for attachments, whose token count does not follow from their
    size. It can be negative.
    """

    params: bytes
    extra: int = 0
    problem: str | None = None


Encoder = Callable[[Mapping[str, Any]], Encoded]
"""A function that encodes the request of one row from the names of its templates."""


def _params(spec: Spec, slot: Callable[[Slot], str]) -> dict[str, Any]:
    """Return the params of a request, in which `slot` replaces each template."""

    def content(at: str, written: Content) -> Any:
        if isinstance(written, str):
            return slot((at, written, None))
        return [_block(at, index, part, slot) for index, part in enumerate(written)]

    params = dict(spec.params)
    if spec.is_schema_sent:
        schema = {"type": "json_schema", "schema": spec.output.schema}
        params["output_config"] = {**(params.get("output_config") or {}), "format": schema}
    if spec.output.tool is not None:
        params = _with_tool(spec, params)
    if spec.prompt.system is not None:
        params["system"] = _cached(content("prompt.system", spec.prompt.system), spec.prompt.cache)
    turns = spec.prompt.turns()
    params["messages"] = [{"role": turn.role, "content": content(at, turn.content)} for at, turn in turns]
    return params


def _block(at: str, index: int, part: str | Block, slot: Callable[[Slot], str]) -> dict[str, Any]:
    """Return one content block in the form of the API."""
    if isinstance(part, str):
        return {"type": "text", "text": slot((block_place(at, index), part, None))}
    given = (block_place(at, index, part.given), part.value)
    block: dict[str, Any] = {"type": part.type}
    if part.type == "text":
        block["text"] = slot((*given, None))
    else:
        block["source"] = slot((*given, part))
    for name in ("title", "context"):
        if (written := getattr(part, name)) is not None:
            block[name] = slot((block_place(at, index, name), written, None))
    if part.citations:
        block["citations"] = {"enabled": True}
    if part.cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": part.cache}
    return block


def _with_tool(spec: Spec, params: dict[str, Any]) -> dict[str, Any]:
    """Add the tool whose input is the output, and force its use if the model allows that."""
    tools, name = list(params.get("tools") or ()), spec.output.tool
    if not any(isinstance(tool, dict) and tool.get("name") == name for tool in tools):
        tools.append({"name": name, "description": _RECORD, "input_schema": spec.output.schema})
    model = known_model(str(params["model"]))
    is_forced = "tool_choice" not in params and not (model and "forced_tool_choice" in model.refuses)
    choice = {"tool_choice": {"type": "tool", "name": name}} if is_forced else {}
    return {**params, "tools": tools, **choice}


def _cached(system: Any, ttl: str | None) -> Any:
    if ttl is None:
        return system
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return [*blocks[:-1], {**blocks[-1], "cache_control": {"type": "ephemeral", "ttl": ttl}}]


def _encode_text(templates: Templates, at: str, render: Renderer, names: Mapping[str, Any]) -> bytes:
    text = render(names)
    if not text or text.isspace():
        raise InputError([templates.spec.problem(at, f"{at} renders to empty text, which the API rejects")])
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError as error:
        raise InputError([templates.spec.problem(at, f"{at} contains half of a surrogate pair")]) from error


def _render(
    templates: Templates,
    attachments: Attachments,
    slot: Slot,
    renderer: Renderer,
    names: Mapping[str, Any],
    load: Load,
) -> bytes:
    """Return the JSON that replaces a slot. Raises InputError and Unsendable."""
    at, _, block = slot
    if block is None:
        return _encode_text(templates, at, renderer, names)
    return attachments.source(block, renderer(names), load)


def _ignore(_: Attached) -> None:
    """Ignore attached files: the default for `note`."""


def encoder(templates: Templates, note: Callable[[Attached], None] = _ignore) -> Encoder:
    """Return the function that encodes the request of one row from its names (see `Templates.names`).

    Building it renders the templates that are the same for all rows. Raises InputError, as does each call. `note`
    is called with the files that requests attach.
    """
    slots: list[Slot] = []
    mark = f"slot-{secrets.token_hex(16)}-"

    def slot(one: Slot) -> str:
        slots.append(one)
        return f"{mark}{len(slots) - 1}"

    encoded = msgspec.json.encode(_params(templates.spec, slot))
    parts: list[bytes | tuple[Slot, Renderer]] = [b""]
    for index, piece in enumerate(re.split(b'"%b(\\d+)"' % mark.encode(), encoded)):
        if index % 2 == 0:
            _append(parts, piece)
            continue
        one = slots[int(piece)]
        render = templates.renderer(*one[:2])
        if one[2] is None and templates.is_constant(*one[:2]):
            _append(parts, _encode_text(templates, one[0], render, templates.names({})))
        else:
            parts += [(one, render), b""]
    if any(block is not None for _, _, block in slots):
        return _attaching(templates, parts, note)

    def encode(names: Mapping[str, Any]) -> Encoded:
        return Encoded(
            b"".join(
                [
                    part if isinstance(part, bytes) else _encode_text(templates, part[0][0], part[1], names)
                    for part in parts
                ]
            )
        )

    return encode


def _attaching(
    templates: Templates, parts: list[bytes | tuple[Slot, Renderer]], note: Callable[[Attached], None]
) -> Encoder:
    """Return the function that encodes requests with documents or images."""
    attachments = Attachments(Reach(templates.spec), note)

    def encode(names: Mapping[str, Any]) -> Encoded:
        load = Load()
        try:
            pieces = [
                part if isinstance(part, bytes) else _render(templates, attachments, *part, names, load)
                for part in parts
            ]
            check_load(templates.spec, load)
        except Unsendable as error:
            return Encoded(b"", problem=str(error))
        return Encoded(b"".join(pieces), load.extra)

    return encode


def prefix_bytes(templates: Templates) -> int:
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
        written = [(block_place("prompt.system", index), text) for index, text in enumerate(texts)]
    for at, text in written:
        if not templates.is_constant(at, text):
            break
        size += len(_encode_text(templates, at, templates.renderer(at, text), templates.names({})))
    return size


def _append(parts: list[Any], piece: bytes) -> None:
    parts[-1] += piece
