"""Expected speed of batches and of synchronous requests: measured on earlier runs here, or else assumed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from runner.spec.spec import Spec
from runner.store.records import Batch, Run
from runner.store.store import Store
from runner.text import pluralize

LONGEST_BATCH_SECONDS = 86_400.0
"""A batch ends within 24 hours (platform.claude.com, batch processing, 2026-08-14)."""


# "Most batches finish in less than 1 hour" (platform.claude.com, batch processing, 2026-08-14).
_BATCH_SECONDS = 3_600.0


# Seconds until the first token of an answer, and for each further token. Anthropic publishes no figures: these are
# rough values for a model of medium size, until the first run has measured them.
_FIRST_TOKEN_SECONDS, _TOKEN_SECONDS = 1.5, 1 / 70


_MEASURED_BATCHES, _MEASURED_REQUESTS = 50, 400


# Batches of very different size say little about each other.
_SIMILAR_FACTOR = 10


@dataclass(frozen=True, slots=True)
class Speed:
    """Expected speed of a run: seconds for a batch, and for one synchronous request.

    `measured_batches` and `measured_requests` count what was measured; 0 means that the value is assumed.
    """

    batch_seconds: float = _BATCH_SECONDS
    request_seconds: float = _FIRST_TOKEN_SECONDS
    measured_batches: int = 0
    measured_requests: int = 0


def measure_speed(
    store: Store, run: Run, *, requests: int, output_tokens: float, base_url: str | None = None
) -> Speed:
    """Return the expected speed of a run whose largest batch has this many requests.

    Batches are measured on the runs of all specs of the project, synchronous requests on those of the same spec.
    With a `base_url`, batches that were sent elsewhere do not count.
    """
    batches = list(islice(_batch_durations(store, run, requests, base_url), _MEASURED_BATCHES))
    answers = list(islice(_answer_times(store, run), _MEASURED_REQUESTS))
    scale = 1.0
    if answers:
        scale = sum(seconds for seconds, _ in answers) / sum(_assume_seconds(tokens) for _, tokens in answers)
    return Speed(
        batch_seconds=_ninetieth_percentile(batches) if batches else _BATCH_SECONDS,
        request_seconds=scale * _assume_seconds(output_tokens),
        measured_batches=len(batches),
        measured_requests=len(answers),
    )


def _assume_seconds(output_tokens: float) -> float:
    return _FIRST_TOKEN_SECONDS + output_tokens * _TOKEN_SECONDS


def _ninetieth_percentile(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.9 * len(values)) - 1]


def _batch_durations(store: Store, run: Run, requests: int, base_url: str | None) -> Iterator[float]:
    """Yield how long batches of similar size took, the newest run first; not those that were canceled."""
    for other in store.runs():
        if other.id == run.id or other.is_canceled:
            continue
        for batch in store.batches(other):
            is_similar = (
                batch.requests <= requests * _SIMILAR_FACTOR and requests <= batch.requests * _SIMILAR_FACTOR
            )
            is_elsewhere = base_url is not None and batch.base_url != base_url
            if batch.created_at is None or batch.ended_at is None or batch.canceled_at is not None:
                continue
            if is_similar and not is_elsewhere:
                yield batch.ended_at - batch.created_at


class _TokenUsage(msgspec.Struct):
    output_tokens: float


class _TimedMessage(msgspec.Struct):
    usage: _TokenUsage


class _TimedResult(msgspec.Struct):
    message: _TimedMessage


class _TimedLine(msgspec.Struct):
    result: _TimedResult
    seconds: float


def _answer_times(store: Store, run: Run) -> Iterator[tuple[float, float]]:
    """Yield the seconds and output tokens of answers to synchronous requests of the spec, the newest run first."""
    for other in store.previous_runs(run):
        for batch in store.batches(other):
            if batch.send_mode != "batch" and batch.state == "collected":
                yield from _read_answer_times(store, other, batch)


def _read_answer_times(store: Store, run: Run, batch: Batch) -> Iterator[tuple[float, float]]:
    path, decode = store.folder(run).results(batch.round, batch.batch), msgspec.json.Decoder(_TimedLine).decode
    if not path.exists():  # purged
        return
    with path.open("rb") as file:
        for line in file:
            try:
                timed = decode(line)
            except msgspec.DecodeError:  # no answer, or one of an older version
                continue
            yield timed.seconds, timed.result.message.usage.output_tokens


def estimate_sync_seconds(spec: Spec, requests: int, request_seconds: float) -> float:
    """Return the expected seconds of synchronous requests, `sync.concurrency` at a time."""
    return max(requests / spec.sync.concurrency, min(requests, 1)) * request_seconds


def describe_span(seconds: float) -> str:
    """Describe a time span in its largest fitting unit."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size or (seconds == size and unit != "day"):
            shown = f"{seconds / size:.0f}" if seconds >= 10 * size else f"{seconds / size:.1f}".removesuffix(".0")
            return f"{shown} {unit}" + ("" if shown == "1" else "s")
    return pluralize(max(1, round(seconds)), "second")
