"""Continue the conversation of a request: correct an invalid answer, or resume a paused one."""

from typing import Any

import msgspec

_REPAIR_PROMPT = "This cannot be used: {}. Answer once more, with the whole answer corrected."


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


def _is_empty_text(block: msgspec.Raw) -> bool:
    """Return whether a block is empty text, which the API does not accept in a request."""
    found = msgspec.json.decode(block, type=_Block)
    return found.type == "text" and not found.text.strip()


def _answer_content(line: bytes) -> list[msgspec.Raw]:
    """Return the content blocks of the answer in a results line that the API accepts in a request."""
    answer = msgspec.json.decode(line, type=_Line).result.message.content
    return [block for block in msgspec.json.decode(answer, type=list[msgspec.Raw]) if not _is_empty_text(block)]


def _append_answer(given: dict[str, msgspec.Raw], content: list[msgspec.Raw]) -> list[Any]:
    """Return the turns of a request, followed by its answer.

    If the last turn is the assistant's, the answer is appended to that turn.
    """
    turns: list[Any] = msgspec.json.decode(given["messages"], type=list[msgspec.Raw])
    last = msgspec.json.decode(turns[-1], type=_Turn)
    if last.role != "assistant":
        return [*turns, {"role": "assistant", "content": content}]
    before = msgspec.json.decode(last.content, type=str | list[msgspec.Raw])
    blocks: list[Any] = [{"type": "text", "text": before}] if isinstance(before, str) else before
    return [*turns[:-1], {"role": "assistant", "content": [*blocks, *content]}]


def ask_for_repair(params: bytes, line: bytes, error: str) -> bytes:
    """Return params that continue a conversation after an invalid answer, and ask for a corrected one.

    `line` is the results line with the answer, and `error` the error in it. If the answer has no content, the
    params are returned unchanged. Raises ValueError if `params` or `line` is malformed.
    """
    content = _answer_content(line)
    blocks = [msgspec.json.decode(block, type=_Block) for block in content]
    if not blocks:
        return params
    given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
    asked = {"role": "user", "content": _repair_content(blocks, _REPAIR_PROMPT.format(error.rstrip(".")))}
    return _replace_messages(given, [*_append_answer(given, content), asked])


def continue_turn(params: bytes, line: bytes) -> bytes:
    """Return params that include a paused answer, so that the API continues from there.

    Work in a container continues in the same container (platform.claude.com, server tools, 2026-08). If the answer
    has no content, the params are returned unchanged. Raises ValueError if the line contains no answer.
    """
    content = _answer_content(line)
    if not content:
        return params
    given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
    container = msgspec.json.decode(line, type=_Line).result.message.container
    if container is not None:
        asked = msgspec.json.decode(given.get("container", b"null"))
        # Keep skills and other container settings; without any, the id alone is enough.
        same: Any = {**asked, "id": container.id} if isinstance(asked, dict) else container.id
        given = {**given, "container": msgspec.Raw(msgspec.json.encode(same))}
    return _replace_messages(given, _append_answer(given, content))


def _replace_messages(given: dict[str, msgspec.Raw], turns: list[Any]) -> bytes:
    return msgspec.json.encode({**given, "messages": msgspec.Raw(msgspec.json.encode(turns))})


def _repair_content(blocks: list[_Block], text: str) -> Any:
    """Return the content of the turn that asks again; every tool call needs a result, which then asks."""
    calls = [block.id for block in blocks if block.type == "tool_use"]
    if not calls:
        return text
    return [{"type": "tool_result", "tool_use_id": one, "is_error": True, "content": text} for one in calls]
