"""A request of the next round that goes on with its answer: to correct what is wrong, or where it paused."""

from typing import Any

import msgspec

_ASK = "This cannot be used: {}. Answer once more, with the whole answer corrected."


class _Container(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    content: msgspec.Raw
    container: _Container | None = None


class _Result(msgspec.Struct):
    message: _Message


class _Line(msgspec.Struct):
    result: _Result


class _Turn(msgspec.Struct):
    role: str
    content: msgspec.Raw


class _Block(msgspec.Struct):
    type: str
    id: str = ""
    text: str = "…"


def _is_empty(block: msgspec.Raw) -> bool:
    """Whether a block is text without any, which the API does not take back."""
    found = msgspec.json.decode(block, type=_Block)
    return found.type == "text" and not found.text.strip()


def _content(line: bytes) -> list[msgspec.Raw]:
    """The content blocks of the answer in a line of results that the API takes back."""
    answer = msgspec.json.decode(line, type=_Line).result.message.content
    return [block for block in msgspec.json.decode(answer, type=list[msgspec.Raw]) if not _is_empty(block)]


def _with_answer(given: dict[str, msgspec.Raw], content: list[msgspec.Raw]) -> list[Any]:
    """The turns of a request and its answer, which goes on with a turn of the assistant if that is the last."""
    turns: list[Any] = msgspec.json.decode(given["messages"], type=list[msgspec.Raw])
    last = msgspec.json.decode(turns[-1], type=_Turn)
    if last.role != "assistant":
        return [*turns, {"role": "assistant", "content": content}]
    before = msgspec.json.decode(last.content, type=str | list[msgspec.Raw])
    blocks: list[Any] = [{"type": "text", "text": before}] if isinstance(before, str) else before
    return [*turns[:-1], {"role": "assistant", "content": [*blocks, *content]}]


def repaired(params: bytes, line: bytes, wrong: str) -> bytes:
    """The params of a request whose answer, in a line of results, is wrong, as a conversation that goes on.

    Without an answer to show they stay as they are. Raises ValueError if one of the two is not what it should be.
    """
    content = _content(line)
    blocks = [msgspec.json.decode(block, type=_Block) for block in content]
    if not blocks:
        return params
    given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
    asked = {"role": "user", "content": _asked(blocks, _ASK.format(wrong.rstrip(".")))}
    return _changed(given, [*_with_answer(given, content), asked])


def continued(params: bytes, line: bytes) -> bytes:
    """The params of a request whose answer paused, with what it has done so far: the API goes on from there.

    What it has done in a container goes on in the same one (platform.claude.com, server tools, 2026-08). Raises
    ValueError if the line holds no answer.
    """
    content = _content(line)
    if not content:
        return params
    given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
    container = msgspec.json.decode(line, type=_Line).result.message.container
    if container is not None:
        asked = msgspec.json.decode(given.get("container", b"null"))
        # Skills and what else was asked of it stay; by itself the id says it all.
        same: Any = {**asked, "id": container.id} if isinstance(asked, dict) else container.id
        given = {**given, "container": msgspec.Raw(msgspec.json.encode(same))}
    return _changed(given, _with_answer(given, content))


def _changed(given: dict[str, msgspec.Raw], turns: list[Any]) -> bytes:
    return msgspec.json.encode({**given, "messages": msgspec.Raw(msgspec.json.encode(turns))})


def _asked(blocks: list[_Block], text: str) -> Any:
    """The content of the turn that asks again; a call of a tool wants its result first."""
    calls = [block.id for block in blocks if block.type == "tool_use"]
    if not calls:
        return text
    return [{"type": "tool_result", "tool_use_id": one, "is_error": True, "content": text} for one in calls]
