"""Decode the JSON of an answer, without the Markdown fence and the words that models write around it."""

import json
import re
from contextlib import suppress
from typing import Any

import msgspec

_SURROGATE = re.compile(rb"\\\\|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})?")

_CODE_FENCE = re.compile(r"```[^`\n\[{]*\n?(.*)```", re.DOTALL)

_SHORT_FENCE = re.compile(r"^[ \t]*```[^`\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)

# An object anywhere, or an array that begins a line: `[1]` within a sentence is a reference.
_VALUE_START = re.compile(r"\{|^[ \t]*\[", re.MULTILINE)

# Each brace that begins no value is read as far as it looks like one.
_MAX_FAILURES = 100

_PLAIN_DECODER = json.JSONDecoder()


def replace_surrogates(data: bytes) -> bytes:
    """Replace each half of a surrogate pair in JSON by U+FFFD, because UTF-8 cannot encode it."""
    return _SURROGATE.sub(_replace_lone_surrogate, data)


def _replace_lone_surrogate(match: re.Match[bytes]) -> bytes:
    first, second = match.groups()
    is_whole = first is None or (second is not None and first[3:4] in b"89abAB")
    return match[0] if is_whole else b"\\ufffd" * (2 if second else 1)


def decode_fenced_json(text: str) -> Any:
    """Decode JSON without the Markdown fence that models often put around it, and the words around it.

    Of several fences, it is in the only one that holds JSON. Raises msgspec.DecodeError, also for two values.
    """
    # Text that begins as JSON does is not in a fence, but may hold one inside a string.
    match = None if text.lstrip()[:1] in ("{", "[", '"') else _CODE_FENCE.search(text)
    if match is None:
        return _decode_among_words(text)
    try:
        return decode_json(match[1])
    except msgspec.DecodeError:
        found = []
        for part in _SHORT_FENCE.findall(text):
            with suppress(msgspec.DecodeError):
                found.append(decode_json(part))
        if len(found) != 1:
            raise
        return found[0]


def _decode_among_words(text: str) -> Any:
    """Decode JSON with words before and after it. Raises msgspec.DecodeError if there is not exactly one value."""
    try:
        return decode_json(text)
    except msgspec.DecodeError:
        found = _find_values(text)
        # A part of a value that was cut or damaged is no answer: brackets around it are left without their pair.
        if len(found) != 1 or not all(map(_is_balanced, (text[: found[0][0]], text[found[0][1] :]))):
            raise
        return decode_json(text[slice(*found[0])])


def _find_values(text: str) -> list[tuple[int, int]]:
    """Return where the only object or array in a text is; nothing if there are more, or too many broken ones."""
    found, end, failures = list[tuple[int, int]](), 0, 0
    for start in _VALUE_START.finditer(text):
        at = start.end() - 1
        if at < end:
            continue
        try:
            _, end = _PLAIN_DECODER.raw_decode(text, at)
            found.append((at, end))
        except ValueError:
            failures += 1
        if len(found) > 1 or failures > _MAX_FAILURES:
            return []
    return found


def _is_balanced(text: str) -> bool:
    return all(text.count(opening) == text.count(closing) for opening, closing in ("{}", "[]"))


def decode_json(text: str) -> Any:
    """Decode a text that is JSON alone; half a surrogate pair becomes U+FFFD. Raises msgspec.DecodeError."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return msgspec.json.decode(replace_surrogates(text.encode()))
