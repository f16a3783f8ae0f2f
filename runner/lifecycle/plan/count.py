"""Count the tokens of sample requests with the API, which also tells if it rejects them.

Counting is free, so no request is paid that the API rejects by its shape.
"""

import random
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from runner.api.client import Api
from runner.errors import RequestRejected, Unavailable
from runner.lifecycle.prepare.render import find_shape
from runner.requests.stored_params import restore_params
from runner.rules.finding import Finding
from runner.runs.context import RunContext
from runner.spec.spec import Spec
from runner.store.run_folder import open_slices

_SAMPLE_REQUESTS, _SAMPLE_BYTES = 16, 8 << 20


# How far the requests of a run are searched for shapes that the sample does not have.
_SEARCHED_REQUESTS, _SEARCHED_BYTES, _MOST_SHAPES = 2_000, 64 << 20, 16


# The API's limit for the body of a count (platform.claude.com, API errors, 2026-08).
_COUNTED_BYTES = 30_000_000


class Sample(NamedTuple):
    """The params of a row's request; `weight` is their length, corrected for attachments."""

    row: int
    params: bytes
    weight: int


@dataclass(slots=True)
class Counts:
    """The API's answers about samples: tokens, rejected rows with messages, and the reason of no answer."""

    tokens: list[tuple[Sample, int]] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    problem: str | None = None


def sample_requests(context: RunContext, count: int) -> list[Sample]:
    """Return a random sample of the `count` new requests of a run, reproducible for the same spec."""
    chance = random.Random(context.run.fingerprint)  # noqa: S311 - must be reproducible
    places, total = sorted(chance.sample(range(count), min(count, _SAMPLE_REQUESTS))), 0
    found: list[Sample] = []
    for sample in _read_requests(context, places):
        total += len(sample.params)
        if total > _SAMPLE_BYTES and found:
            break
        found.append(sample)
    return found


def find_other_shapes(context: RunContext, count: int, sample: Sequence[Sample]) -> Iterator[Sample]:
    """Yield one request of each shape that the sample does not have; only attachments make shapes differ."""
    if all(block.type == "text" for block in context.spec.prompt.blocks()):
        return
    known, total = {find_shape(one.params) for one in sample}, 0
    for one in _read_requests(context, range(min(count, _SEARCHED_REQUESTS)), known):
        total += len(one.params)
        known.add(find_shape(one.params))
        yield one
        if total > _SEARCHED_BYTES or len(known) >= _MOST_SHAPES:
            return


def _read_requests(
    context: RunContext, places: Iterable[int], known_shapes: Container[tuple[bytes, ...]] = ()
) -> Iterator[Sample]:
    """Yield the requests at these places of a prepared run, but for those of a known shape."""
    folder = context.store.folder(context.run)
    with open_slices() as files:
        for row, batch, offset, size, weight in context.store.row_index.requests_at(context.run, places):
            stored = files.read(folder.body(1, batch), offset, size)
            # Files are read again only if the request is wanted: references have no part of a shape.
            if find_shape(stored) not in known_shapes:
                yield Sample(row, restore_params(stored, context.spec.root).sent, weight)


def count_samples(api: Api, samples: Sequence[Sample]) -> Counts:
    """Count samples with the API. Raises AccessError if the credentials are rejected."""
    counts = Counts()
    asked = [one for one in samples if len(one.params) <= _COUNTED_BYTES and not _waits_for_upload(one.params)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: _count_tokens(api, one.params), asked))
    for sample, answer in zip(asked, answers, strict=True):
        if isinstance(answer, int):
            counts.tokens.append((sample, answer))
        elif isinstance(answer, RequestRejected):
            counts.rejected.append((sample.row, str(answer)))
        else:
            counts.problem = str(answer)
    return counts


def _waits_for_upload(params: bytes) -> bool:
    """Return whether a request names files that are uploaded only once the run is agreed to."""
    return b'"file_id":"upload_' in params


def _count_tokens(api: Api, params: bytes) -> int | RequestRejected | Unavailable:
    try:
        return api.count_tokens(params)
    except (RequestRejected, Unavailable) as error:
        return error


def rejection_findings(spec: Spec, rejected: Sequence[tuple[int, str]]) -> list[Finding]:
    """Return an error for each different message of the API about counted requests, with its first row."""
    rows: dict[str, list[tuple[int, str]]] = {}
    for row, message in sorted(rejected):
        rows.setdefault(re.sub(r" \(request [^)]*\)", "", message), []).append((row, message))
    found = []
    for same in rows.values():
        row, message = same[0]
        others = f", and {len(same) - 1} more of those that were asked about" if len(same) > 1 else ""
        text = f"the API rejects the request of row {row}{others}: {message}. Nothing was sent or paid"
        place = spec.problem("params", text)
        found.append(Finding("rejected-by-api", "error", place.path, place.line, place.column, text))
    return found


def check_online(spec: Spec, samples: Sequence[tuple[int, bytes]], api: Api) -> list[Finding]:
    """Return the errors that the API finds in the requests of rows. Raises Unavailable and AccessError."""
    counts = count_samples(api, [Sample(row, params, len(params)) for row, params in samples])
    if counts.problem is not None and not counts.rejected:
        raise Unavailable(f"{spec.path}: the API did not check its requests: {counts.problem}")
    return rejection_findings(spec, counts.rejected)
