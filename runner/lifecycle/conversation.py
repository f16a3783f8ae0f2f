"""An invalid answer, shown to the model with what is wrong with it: the request of the next round."""

from typing import Any

import msgspec

_ASK = "This cannot be used: {}. Answer once more, with the whole answer corrected."


class _Message(msgspec.Struct):
    content: msgspec.Raw


class _Result(msgspec.Struct):
    message: _Message


class _Line(msgspec.Struct):
    result: _Result


class _Block(msgspec.Struct):
    type: str
    id: str = ""
    text: str = "…"


def _is_empty(block: msgspec.Raw) -> bool:
    """Whether a block is text without any, which the API does not take back."""
    found = msgspec.json.decode(block, type=_Block)
    return found.type == "text" and not found.text.strip()


def repaired(params: bytes, line: bytes, wrong: str) -> bytes:
    """The params of a request whose answer, in a line of results, is wrong, as a conversation that goes on.

    Without an answer to show they stay as they are. Raises ValueError if one of the two is not what it should be.
    """
    answer = msgspec.json.decode(line, type=_Line).result.message.content
    content = [block for block in msgspec.json.decode(answer, type=list[msgspec.Raw]) if not _is_empty(block)]
    blocks = [msgspec.json.decode(block, type=_Block) for block in content]
    if not blocks:
        return params
    given = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
    turns = msgspec.json.decode(given["messages"], type=list[msgspec.Raw])
    asked = {"role": "user", "content": _asked(blocks, _ASK.format(wrong.rstrip(".")))}
    messages = msgspec.json.encode([*turns, {"role": "assistant", "content": content}, asked])
    return msgspec.json.encode({**given, "messages": msgspec.Raw(messages)})


def _asked(blocks: list[_Block], text: str) -> Any:
    """The content of the turn that asks again; a call of a tool wants its result first."""
    calls = [block.id for block in blocks if block.type == "tool_use"]
    if not calls:
        return text
    return [{"type": "tool_result", "tool_use_id": one, "is_error": True, "content": text} for one in calls]
