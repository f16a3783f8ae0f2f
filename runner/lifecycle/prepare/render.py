"""Render the rows of a source as requests."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from runner.errors import InputError, Problem
from runner.lifecycle.prepare.render_elsewhere import encode_elsewhere
from runner.requests.attachments import AttachedFile
from runner.requests.encode import EncodedRequest, make_request_encoder
from runner.rules.finding import Finding
from runner.sources.read import Row
from runner.templates.templates import Templates
from runner.workers.tasks import AUTO, AUTO_ROWS, Jobs, count_processors

# In JSON, the quotes of texts are escaped, so this finds only keys of the request itself.
_SHAPE = re.compile(rb'"(?:type|media_type|role)":"[^"\\]*"')


def _ignore_attachment(_: AttachedFile) -> None:
    """Ignore attached files: the default for `on_attach`."""


def _only_once(on_attach: Callable[[AttachedFile], None]) -> Callable[[AttachedFile], None]:
    """Return a function that passes on each file once, however many workers have read it."""
    reported = set[AttachedFile]()

    def report(file: AttachedFile) -> None:
        if file not in reported:
            reported.add(file)
            on_attach(file)

    return report


def encode_requests(
    templates: Templates,
    rows: Iterator[Row],
    on_attach: Callable[[AttachedFile], None] = _ignore_attachment,
    *,
    jobs: Jobs = 1,
    should_stop: Callable[[], bool] = bool,
) -> Iterator[tuple[Row, EncodedRequest]]:
    """Yield each row with its request. Raises InputError that names the template and the row.

    `on_attach` is called with each file that the requests attach. Unless `jobs` is 1, others render the rows,
    until `should_stop`; with `auto` that begins at the row from which it is worth it.
    """
    if jobs == AUTO and count_processors() == 1:
        jobs = 1
    if jobs != 1:
        on_attach = _only_once(on_attach)
    encode, names = make_request_encoder(templates, on_attach), templates.variables
    has_files = any(block.type != "text" for block in templates.spec.prompt.blocks())
    here = rows if jobs == 1 else islice(rows, AUTO_ROWS if jobs == AUTO and not has_files else 0)
    for row in here:
        try:
            yield row, encode(names(row.fields))
        except InputError as error:
            raise _make_row_error(error.problems, row) from error
    if jobs == 1:
        return
    how: dict[str, Any] = {"jobs": jobs, "should_stop": should_stop}
    for row, found in encode_elsewhere(templates, rows, lambda fields: encode(names(fields)), on_attach, **how):
        if not isinstance(found, EncodedRequest):
            raise _make_row_error(found, row)
        yield row, found


def _make_row_error(problems: Iterable[Problem], row: Row) -> InputError:
    place = f"row {row.number}, {row.path}:{row.line}"
    return InputError([Problem(one.path, f"{one.message} ({place})", one.line, one.column) for one in problems])


def rejected_finding(row: Row, problem: str) -> Finding:
    """Return a warning that this row will not be sent, with its location."""
    # A row of a `files` source is its whole file, which has no line to show.
    line = 0 if row.fields.get("path") == row.path else row.line
    return Finding("rejected", "warning", row.path, line, 0, f"row {row.number} cannot be sent: {problem}")


def find_shape(params: bytes) -> tuple[bytes, ...]:
    """Return what distinguishes requests that the API may judge differently, whatever their texts."""
    return tuple(_SHAPE.findall(params))
