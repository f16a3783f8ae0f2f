"""One row becomes the bytes of one request.

Everything that is the same for each row is encoded once: per row, only the rendered texts are.
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
from runner.prompt import Renderer, Templates
from runner.reach import Reach
from runner.spec import Block, Content, Spec, block_place

_RECORD = "Records the result. Call it exactly once, with the whole result as its input."

Slot = tuple[str, str, Block | None]
"""The dotted path of a template, the template as written, and the block whose source it is, if it is one."""


class Encoded(NamedTuple):
    """The JSON of the `params` of one row, or why there is none.

    `extra` is by how much the bytes of it say too little of its tokens, or too much: what it attaches weighs
    otherwise than text does.
    """

    params: bytes
    extra: int = 0
    problem: str | None = None


Encoder = Callable[[Mapping[str, Any]], Encoded]
"""Turns the names of one row into its request."""


def _params(spec: Spec, slot: Callable[[Slot], str]) -> dict[str, Any]:
    """The params of a request, with what `slot` returns in the place of each template."""

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
    """One content block, as the API has it."""
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
    """Params with the tool whose input is the output, forced where the model allows it."""
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
        raise InputError([templates.spec.problem(at, f"{at} is empty here, and the API takes no empty text")])
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError as error:
        raise InputError([templates.spec.problem(at, f"{at} holds half of a surrogate pair")]) from error


def _render(
    templates: Templates,
    attachments: Attachments,
    slot: Slot,
    renderer: Renderer,
    names: Mapping[str, Any],
    load: Load,
) -> bytes:
    """The JSON that takes the place of a slot. Raises InputError and Unsendable."""
    at, _, block = slot
    if block is None:
        return _encode_text(templates, at, renderer, names)
    return attachments.source(block, renderer(names), load)


def _ignore(_: Attached) -> None:
    """Nobody wants to know which files are attached."""


def encoder(templates: Templates, note: Callable[[Attached], None] = _ignore) -> Encoder:
    """The function that encodes the request of one row (see `Templates.names` for what it takes).

    Building it renders the templates that are the same for each row. Raises InputError, as does each call. `note`
    is told of each file that a request attaches.
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
    """The function that encodes requests with documents or images."""
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
    """How many bytes of JSON every request begins with, as the API reads it: its tools, then its system prompt.

    The part of a system prompt counts that is the same for each row, up to its first block that is not.
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
