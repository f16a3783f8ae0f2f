"""Input tokens of a request: those of its text, and those of its documents and images as a plan estimates them."""

import base64
import re
from collections.abc import Iterator
from typing import Any

from runner.files.extras import missing_package_message
from runner.files.media_types import IMAGE_TYPES, detect_media_type
from runner.pricing.models import find_model
from runner.requests.attachment_limits import measure_attachment
from runner.requests.attachment_totals import AttachmentTotals, RowRejected, attachment_limits
from runner.spec.prompt import Block

_BYTES_PER_TOKEN = 3.1
_FILE_ID = re.compile(r"file_([0-9]+)w.*")


def count_text_tokens(text: bytes | str) -> int:
    """Return one token for every four characters of a text."""
    return len(text) // 4 + 1


def make_file_id(data: bytes, secret: str) -> str:
    """Return the id of an uploaded file, which tells how much a request with it counts."""
    kind = "image" if detect_media_type(data) in IMAGE_TYPES else "document"
    weight = _measure(kind, data)
    return f"file_{len(data) if weight is None else weight}w{secret}"


def count_input_tokens(raw: bytes, messages: list[Any], model: str) -> int:
    """Return the input tokens of the request `raw` with these messages."""
    inline, weight = 0, 0
    for kind, source in _find_sources(messages):
        data = source.get("data") if source.get("type") == "base64" else None
        inline += len(data) if isinstance(data, str) else 0
        weight += _weigh(kind, source)
    found = find_model(model)
    ratio = found.bytes_per_token if found is not None else _BYTES_PER_TOKEN
    return (len(raw) - inline) // 4 + 1 + round(weight / ratio)


def _find_sources(messages: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the type and the source of each document and image."""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            source = block.get("source") if isinstance(block, dict) else None
            if isinstance(source, dict) and block.get("type") in ("document", "image"):
                yield block["type"], source


def _weigh(kind: str, source: dict[str, Any]) -> int:
    """Return the size in bytes of a text with as many tokens as a document or image (see `AttachmentTotals`)."""
    limits = attachment_limits()
    unknown = limits.image_tokens if kind == "image" else limits.unknown_pages * limits.page_tokens
    if source.get("type") == "text":
        return 0
    if source.get("type") == "base64":
        try:
            measured = _measure(kind, base64.b64decode(str(source.get("data"))))
        except ValueError:
            measured = None
        return unknown if measured is None else measured
    match = _FILE_ID.fullmatch(str(source.get("file_id")))
    return unknown if match is None else int(match[1])


def _measure(kind: str, data: bytes) -> int | None:
    """Return the weight of a PDF or image, or None if it cannot be measured."""
    if missing_package_message("documents"):
        return None
    totals = AttachmentTotals()
    try:
        measured = measure_attachment(Block(kind, "base64", ""), data, "", totals)
    except RowRejected:
        return None
    return None if measured == "text/plain" else totals.size_adjustment
