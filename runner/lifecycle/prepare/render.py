"""Render the rows of a source as requests."""

import re
from collections.abc import Callable, Iterator
from typing import NoReturn

from runner.errors import InputError, Problem
from runner.requests.attachments import AttachedFile
from runner.requests.encode import EncodedRequest, make_request_encoder
from runner.rules.finding import Finding
from runner.sources.read import Row
from runner.templates.templates import Templates

# In JSON, the quotes of texts are escaped, so this finds only keys of the request itself.
_SHAPE = re.compile(rb'"(?:type|media_type|role)":"[^"\\]*"')


def encode_requests(
    templates: Templates, rows: Iterator[Row], on_attach: Callable[[AttachedFile], None] | None = None
) -> Iterator[tuple[Row, EncodedRequest]]:
    """Yield each row with its request. Raises InputError that names the template and the row.

    `on_attach` is called with each file that the requests attach.
    """
    encode, names = make_request_encoder(templates, *([on_attach] if on_attach else [])), templates.variables
    for row in rows:
        try:
            yield row, encode(names(row.fields))
        except InputError as error:
            _raise_with_row(error, row)


def _raise_with_row(error: InputError, row: Row) -> NoReturn:
    place = f"row {row.number}, {row.path}:{row.line}"
    raise InputError(
        [Problem(p.path, f"{p.message} ({place})", p.line, p.column) for p in error.problems]
    ) from error


def rejected_finding(row: Row, problem: str) -> Finding:
    """Return a warning that this row will not be sent, with its location."""
    return Finding("rejected", "warning", row.path, row.line, 0, f"row {row.number} cannot be sent: {problem}")


def find_shape(params: bytes) -> tuple[bytes, ...]:
    """Return what distinguishes requests that the API may judge differently, whatever their texts."""
    return tuple(_SHAPE.findall(params))
