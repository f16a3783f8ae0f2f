"""Answer a batch synchronously through the Messages API, a few requests at a time.

Each request is noted on disk before its first byte is sent. Each answer is on disk before another request takes
its place. An answer can be lost if the connection breaks or the process dies. Its request is then never sent again
by the same batch, because it may be billed: it ends as errored, and a later round may send it again.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event
from typing import BinaryIO

import msgspec

from runner.api.client import Api
from runner.errors import AcceptanceUnknown, AccessError, FileChanged, RunnerError, StateError, Unavailable
from runner.files.atomic import open_for_append
from runner.lifecycle.prepare.check_body import check_body
from runner.lifecycle.prepare.split_batch import RequestLocation, split_batch
from runner.requests.custom_id import custom_id_prefix, parse_row_number
from runner.results.outcome import LOST_ANSWER, parse_result_type
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_folder import BodyReader, open_bodies

MAX_SYNC_BATCH = 200
"""Maximum number of requests in a batch that is answered synchronously."""


_MAX_TRIES = 8


_MAX_DELAY_SECONDS = 60.0


_REPORT_SECONDS = 2.0


_CANCELED_RESULT = b'{"type":"canceled"}'


_UNTIMED: Mapping[int, float] = {}


@dataclass(slots=True)
class _Throttle:
    """A gate for requests: some faults close it for a while, others for good."""

    stop: Event
    closed_until: float = 0.0
    error: RunnerError | None = None

    @property
    def is_closed(self) -> bool:
        """True if no further request may be sent."""
        return self.error is not None or self.stop.is_set()

    def wait_until_open(self) -> bool:
        """Wait until the gate is open; return False if it is shut."""
        while not self.is_closed and (left := self.closed_until - time.monotonic()) > 0:
            self.stop.wait(min(left, 0.5))
        return not self.is_closed

    def close_for(self, retry_after: float | None, tries: int) -> None:
        """Close the gate for a while after a failed try.

        The delay doubles with each try, or is `retry_after` (the API's retry-after in seconds) if that is
        longer. It is at most 60 seconds.
        """
        delay = min(max(0.5 * 2.0 ** min(tries, 10), retry_after or 0.0), _MAX_DELAY_SECONDS)
        self.closed_until = max(self.closed_until, time.monotonic() + delay)


def _send_request(api: Api, params: bytes, throttle: _Throttle) -> bytes | None:
    """Send one request and return its result, or None if it was certainly not processed."""
    for tries in range(_MAX_TRIES):
        if not throttle.wait_until_open():
            return None
        try:
            return api.create_message(params)
        except AcceptanceUnknown as error:
            return _lost_answer_result(f"{error}: it may have been answered, and paid")
        except AccessError as error:
            throttle.error = error
        except Unavailable as error:
            throttle.close_for(error.retry_after, tries)
            if tries == _MAX_TRIES - 1:
                throttle.error = error
    return None


def _time_request(api: Api, params: bytes, throttle: _Throttle) -> tuple[bytes | None, float]:
    """Send one request; return its result as `_send_request` does, and the seconds that it took with its waits."""
    began = time.monotonic()
    return _send_request(api, params, throttle), time.monotonic() - began


def _lost_answer_result(message: str) -> bytes:
    error = {"type": "error", "error": {"type": LOST_ANSWER, "message": message}}
    return msgspec.json.encode({"type": "errored", "error": error})


@dataclass(slots=True)
class _SyncJournal:
    """A batch that is being answered: its open files, and the number of its results by type."""

    prefix: str
    results: BinaryIO
    intents: BinaryIO
    save: Callable[[], None]
    counts: dict[str, int] = field(default_factory=dict)

    def record_results(
        self, answers: Iterable[tuple[int, bytes]], seconds: Mapping[int, float] = _UNTIMED
    ) -> None:
        """Append (row, result) pairs to the results file, durably, with the `seconds` that each row took."""
        for row, result in answers:
            took = b',"seconds":%.3f' % seconds[row] if row in seconds else b""
            line = b'{"custom_id":"%b%d","result":%b%b}\n'
            self.results.write(line % (self.prefix.encode(), row, result, took))
            self.count_result(result)
        _flush_to_disk(self.results)

    def count_result(self, result: bytes) -> None:
        """Count a result by its type."""
        kind = parse_result_type(result)
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def record_intents(self, rows: Iterable[int]) -> None:
        """Note durably that rows are about to be sent; a negative number means that the row was not sent."""
        self.intents.write(b"".join(b"%d\n" % row for row in rows))
        _flush_to_disk(self.intents)


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _read_intents(path: Path) -> set[int]:
    """Return the rows that may have been sent, and cut off an incomplete last line."""
    found: set[int] = set()
    *lines, torn = path.read_bytes().split(b"\n") if path.exists() else [b""]
    if torn:
        os.truncate(path, path.stat().st_size - len(torn))
    for number in map(int, lines):
        if number > 0:
            found.add(number)
        else:
            found.discard(-number)
    return found


class _Line(msgspec.Struct):
    custom_id: str
    result: msgspec.Raw


def _read_results(path: Path, prefix: str) -> Iterator[tuple[int, bytes]]:
    """Yield (row, result) of each complete line, and cut off a line that a dying process left incomplete.

    Raises StateError if a complete line is damaged.
    """
    if not path.exists():
        return
    size = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            size += len(line)
            try:
                found = msgspec.json.decode(line, type=_Line)
            except msgspec.DecodeError as error:
                raise StateError(f"{path} is damaged: {error}") from error
            yield parse_row_number(found.custom_id, prefix=prefix) or 0, bytes(found.result)
    os.truncate(path, size)


def split_into_chunks(context: RunContext, batch: Batch) -> None:
    """Replace a prepared batch with batches that are small enough to be answered synchronously."""
    requests = context.store.row_index.requests_of(batch)
    split_batch(
        context,
        batch,
        [requests[first : first + MAX_SYNC_BATCH] for first in range(0, len(requests), MAX_SYNC_BATCH)],
    )


def send_synchronously(context: RunContext, api: Api, batch: Batch, *, stop: Event) -> Batch:
    """Send the remaining requests of a batch; return it ended, or unfinished if `stop` was set.

    Raises AccessError or Unavailable if it cannot continue now; the answers to requests in flight are then on
    disk. Raises StateError before it sends anything if the body was changed.
    """
    folder = context.store.folder(context.run)
    results, notes = folder.results(batch.round, batch.batch), folder.sync_journal(batch.round, batch.batch)
    save = partial(folder.save, results, notes)
    prefix = custom_id_prefix(context.run.id, batch.round, batch.batch)
    if not context.run.is_canceled:
        # A file that has changed concerns its request alone.
        with suppress(FileChanged):
            check_body(context, batch)
    if batch.state == "prepared":
        batch = context.store.transition(batch, "submitted")
    done, intended = dict(_read_results(results, prefix)), _read_intents(notes)
    throttle = _Throttle(stop)
    with open_for_append(results) as results_file, open_for_append(notes) as notes_file:
        journal = _SyncJournal(prefix, results_file, notes_file, save)
        for result in done.values():
            journal.count_result(result)
        lost = [row for row in sorted(intended) if row not in done]
        journal.record_results(
            (row, _lost_answer_result("the runner ended before the answer came: it may be paid")) for row in lost
        )
        left = [request for request in context.store.row_index.requests_of(batch) if request[0] not in intended]
        if context.run.is_canceled:
            journal.record_results((row, _CANCELED_RESULT) for row, _, _ in left)
        else:
            _send_all(context, api, batch, journal, left, throttle)
        save()
    if throttle.error is not None:
        raise throttle.error
    if sum(journal.counts.values()) < batch.requests:
        return batch
    return context.store.transition(batch, "ended", counts=msgspec.json.encode(journal.counts).decode())


def _read_params(
    bodies: BodyReader, batch: Batch, requests: Iterable[RequestLocation], throttle: _Throttle
) -> list[tuple[int, bytes]]:
    """Return the rows and params of requests; a changed file or damage shuts the gate.

    Nothing is raised, because answers to requests in flight are still to be recorded.
    """
    try:
        return [(row, bodies.read(batch.round, batch.batch, *where).sent) for row, *where in requests]
    except FileChanged as error:
        throttle.error = error
    except (OSError, ValueError) as error:
        throttle.error = StateError(f"{bodies.folder.body(batch.round, batch.batch)} is damaged: {error}")
    return []


def _send_all(
    context: RunContext,
    api: Api,
    batch: Batch,
    journal: _SyncJournal,
    left: list[RequestLocation],
    throttle: _Throttle,
) -> None:
    """Send requests, at most `sync.concurrency` at a time, until all are answered or the gate is shut."""
    folder, todo = context.store.folder(context.run), iter(left)
    concurrency, in_flight = context.spec.sync.concurrency, dict[Future[tuple[bytes | None, float]], int]()
    reported_at = time.monotonic()
    with open_bodies(folder, context.spec.root) as bodies, ThreadPoolExecutor(concurrency) as pool:
        while True:
            chosen = [] if throttle.is_closed else list(islice(todo, concurrency - len(in_flight)))
            next_requests = _read_params(bodies, batch, chosen, throttle)
            if next_requests:
                journal.record_intents(row for row, _ in next_requests)
                journal.save()
            for row, params in next_requests:
                in_flight[pool.submit(_time_request, api, params, throttle)] = row
            if not in_flight:
                return
            completed = {
                in_flight.pop(one): one.result() for one in wait(in_flight, return_when=FIRST_COMPLETED).done
            }
            seconds = {row: took for row, (_, took) in completed.items()}
            journal.record_results(((row, one) for row, (one, _) in completed.items() if one is not None), seconds)
            journal.record_intents(-row for row, (one, _) in completed.items() if one is None)
            if time.monotonic() - reported_at > _REPORT_SECONDS:
                reported_at = time.monotonic()
                line = f"{sum(journal.counts.values()):,} of {batch.requests:,} answered"
                context.report("answered", line, batch)
