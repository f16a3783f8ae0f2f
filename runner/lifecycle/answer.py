"""Answer a batch synchronously through the Messages API, a few requests at a time.

Each request is noted on disk before its first byte is sent. Each answer is on disk before another request takes
its place. An answer can be lost if the connection breaks or the process dies. Its request is then never sent again
by the same batch, because it may be billed: it ends as errored, and a later round may send it again.
"""

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Event
from typing import BinaryIO

import msgspec

from runner.api import Api
from runner.body import custom_id, row_of
from runner.durable import appending
from runner.errors import AccessError, CreateUnknown, RunnerError, StateError, Unavailable
from runner.lifecycle.divide import Request, divide
from runner.lifecycle.job import Job, name_of
from runner.outcome import NO_ANSWER, result_type
from runner.store.folder import pieces
from runner.store.records import Batch

AT_ONCE = 200
"""Maximum number of requests in a batch that is answered synchronously."""

_TRIES = 8
_LONGEST_DELAY = 60.0
_TELL_SECONDS = 2.0
_CANCELED = b'{"type":"canceled"}'


@dataclass(slots=True)
class _Gate:
    """A gate for requests: some faults close it for a while, others for good."""

    stop: Event
    until: float = 0.0
    fault: RunnerError | None = None

    @property
    def is_shut(self) -> bool:
        """True if no further request may be sent."""
        return self.fault is not None or self.stop.is_set()

    def passes(self) -> bool:
        """Wait until the gate is open; return False if it is shut."""
        while not self.is_shut and (left := self.until - time.monotonic()) > 0:
            self.stop.wait(min(left, 0.5))
        return not self.is_shut

    def close_for(self, advice: float | None, tries: int) -> None:
        """Close the gate for a while after a failed try.

        The delay doubles with each try, or is `advice` (the API's retry-after in seconds) if that is longer. It is
        at most 60 seconds.
        """
        delay = min(max(0.5 * 2.0 ** min(tries, 10), advice or 0.0), _LONGEST_DELAY)
        self.until = max(self.until, time.monotonic() + delay)


def _send(api: Api, params: bytes, gate: _Gate) -> bytes | None:
    """Send one request and return its result, or None if it was certainly not processed."""
    for tries in range(_TRIES):
        if not gate.passes():
            return None
        try:
            return api.message(params)
        except CreateUnknown as error:
            return _errored(f"{error}: it may have been answered, and paid")
        except AccessError as error:
            gate.fault = error
        except Unavailable as error:
            gate.close_for(error.retry_after, tries)
            if tries == _TRIES - 1:
                gate.fault = error
    return None


def _errored(message: str) -> bytes:
    error = {"type": "error", "error": {"type": NO_ANSWER, "message": message}}
    return msgspec.json.encode({"type": "errored", "error": error})


@dataclass(slots=True)
class _Lane:
    """A batch that is being answered: its open files, and the number of its results by type."""

    prefix: str
    results: BinaryIO
    notes: BinaryIO
    counts: dict[str, int] = field(default_factory=dict)

    def record(self, answers: Iterable[tuple[int, bytes]]) -> None:
        """Append (row, result) pairs to the results file, durably."""
        for row, result in answers:
            self.results.write(b'{"custom_id":"%b%d","result":%b}\n' % (self.prefix.encode(), row, result))
            self.count(result)
        _sync(self.results)

    def count(self, result: bytes) -> None:
        """Count a result by its type."""
        kind = result_type(result)
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def note(self, rows: Iterable[int]) -> None:
        """Note durably that rows are about to be sent; a negative number means that the row was not sent."""
        self.notes.write(b"".join(b"%d\n" % row for row in rows))
        _sync(self.notes)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _noted(path: Path) -> set[int]:
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


def _answered(path: Path, prefix: str) -> Iterator[tuple[int, bytes]]:
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
            yield row_of(found.custom_id, prefix=prefix) or 0, bytes(found.result)
    os.truncate(path, size)


def needs_parts(batch: Batch) -> bool:
    """Return whether a prepared batch is too large to be answered in one piece."""
    return batch.requests > AT_ONCE


def part(job: Job, batch: Batch) -> None:
    """Replace a prepared batch with batches that are small enough to be answered synchronously."""
    requests = job.store.requests_of(batch)
    divide(job, batch, [requests[first : first + AT_ONCE] for first in range(0, len(requests), AT_ONCE)])


def answer(job: Job, api: Api, batch: Batch, *, stop: Event) -> Batch:
    """Send the remaining requests of a batch; return it ended, or unfinished if `stop` was set.

    Raises AccessError or Unavailable if it cannot continue now; the answers to requests in flight are then on
    disk.
    """
    folder = job.store.folder(job.run)
    results, notes = folder.results(batch.round, batch.batch), folder.noted(batch.round, batch.batch)
    prefix = custom_id(job.run.id, batch.round, batch.batch, 0)[:-1]
    if batch.state == "prepared":
        batch = job.store.move(batch, "submitted")
    done, noted = dict(_answered(results, prefix)), _noted(notes)
    gate = _Gate(stop)
    with appending(results) as results_file, appending(notes) as notes_file:
        lane = _Lane(prefix, results_file, notes_file)
        for result in done.values():
            lane.count(result)
        lost = [row for row in sorted(noted) if row not in done]
        lane.record((row, _errored("the runner ended before the answer came: it may be paid")) for row in lost)
        left = [request for request in job.store.requests_of(batch) if request[0] not in noted]
        if job.run.is_canceled:
            lane.record((row, _CANCELED) for row, _, _ in left)
        else:
            _send_all(job, api, batch, lane, left, gate)
    if gate.fault is not None:
        raise gate.fault
    if sum(lane.counts.values()) < batch.requests:
        return batch
    return job.store.move(batch, "ended", counts=msgspec.json.encode(lane.counts).decode())


def _send_all(job: Job, api: Api, batch: Batch, lane: _Lane, left: list[Request], gate: _Gate) -> None:
    """Send requests, at most `sync.concurrency` at a time, until all are answered or the gate is shut."""
    body, todo = job.store.folder(job.run).body(batch.round, batch.batch), iter(left)
    most, flying = job.spec.sync.concurrency, dict[Future[bytes | None], int]()
    told = time.monotonic()
    with pieces() as files, ThreadPoolExecutor(most) as pool:
        while True:
            fresh = [] if gate.is_shut else list(islice(todo, most - len(flying)))
            if fresh:
                lane.note(row for row, _, _ in fresh)
            for row, *where in fresh:
                flying[pool.submit(_send, api, files.read(body, *where), gate)] = row
            if not flying:
                return
            landed = {flying.pop(one): one.result() for one in wait(flying, return_when=FIRST_COMPLETED).done}
            lane.record((row, result) for row, result in landed.items() if result is not None)
            lane.note(-row for row, result in landed.items() if result is None)
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                job.tell(f"{name_of(batch)}: {sum(lane.counts.values()):,} of {batch.requests:,} answered")
