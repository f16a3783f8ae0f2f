"""Reuse of the results of earlier runs, and the reasons why the remaining requests are new."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import StateError
from runner.form import OutputFormat
from runner.lifecycle.record import SpecSnapshot, read_snapshot
from runner.outcome import parse_result
from runner.store.folder import FileSlices
from runner.store.known import DigestIndex, SucceededRequests
from runner.store.records import Run
from runner.store.state import Store

_COMPARED_STATES = ("running", "finished", "abandoned")


class _Line(msgspec.Struct):
    result: msgspec.Raw


class _Row(msgspec.Struct):
    row: msgspec.Raw


_decode_line = msgspec.json.Decoder(_Line).decode
RunBatchKey = tuple[int, int, int]
"""Run, round and batch."""


@dataclass(frozen=True, slots=True)
class PreviousResults:
    """Results of the runs in `store` that are still valid for a spec.

    `verified_paths` caches the results file of each batch, or None if the file is missing or was changed.
    """

    store: Store
    index: SucceededRequests | None
    slices: FileSlices
    output_format: OutputFormat
    verified_paths: dict[RunBatchKey, Path | None] = field(default_factory=dict)

    def find_result(self, digest: bytes, custom_id: str, row: Mapping[str, Any]) -> bytes | None:
        """Return the result line for a request, under the given custom_id; None if there is no intact one."""
        found = self.index.find(digest) if self.index is not None else None
        if found is None:
            return None
        place = found[:3]
        if place not in self.verified_paths:
            self.verified_paths[place] = self._verify_path(*place)
        path = self.verified_paths[place]
        if path is None:
            return None
        try:
            line = self.slices.read(path, found.offset, found.length)
            # A result that a run reused from another (batch 0) is not covered by a file digest. The rules for
            # a valid output can have changed as well.
            is_in_doubt = found.batch == 0 or self.output_format.has_local_checks
            if is_in_doubt and parse_result(line, self.output_format, row).outcome != "succeeded":
                return None
            return b'{"custom_id":"%b","result":%b}' % (custom_id.encode(), bytes(_decode_line(line).result))
        except (OSError, ValueError):
            return None

    def _verify_path(self, number: int, round: int, batch: int) -> Path | None:
        """Return the results file of a batch, or None if it is missing or was changed.

        In that case the requests of the batch are sent again.
        """
        run = next(run for run in self.store.runs() if run.number == number)
        path = self.store.folder(run).results(round, batch)
        known = next((b for b in self.store.batches(run) if (b.round, b.batch) == (round, batch)), None)
        try:
            with path.open("rb") as file:
                is_same = known is None or hashlib.file_digest(file, "sha256").hexdigest() == known.results_sha256
        except OSError:
            return None
        return path if is_same else None


@dataclass(slots=True)
class ChangeReasons:
    """Reasons why requests have no result yet: the changes since the previous run of the spec.

    `previous_run` is that run, and `default` the reason for rows that it had too.
    """

    store: Store
    previous_run: Run | None
    default: str
    _row_digests: DigestIndex | None = field(default=None)

    def reason_for(self, fields: bytes) -> str:
        """Return why the request of a row with this JSON is new.

        `data`: the previous run had no such row. `prompt` or `params`: these have changed. `again`: nothing has
        changed, but there is no result to reuse.
        """
        if self.previous_run is None:
            return "data"
        if self._row_digests is None:
            self._row_digests = DigestIndex()
            for number, row in enumerate(self._read_rows(self.previous_run), 1):
                self._row_digests.setdefault(_digest_row(row), number)
        return self.default if _digest_row(fields) in self._row_digests else "data"

    def _read_rows(self, run: Run) -> Iterator[bytes]:
        decode = msgspec.json.Decoder(_Row).decode
        try:
            with self.store.folder(run).rows.open("rb") as file:
                for line in file:
                    yield bytes(decode(line).row)
        except (OSError, ValueError):
            # Only the reasons become less exact.
            return

    def close(self) -> None:
        """Release the digests of the previous run's rows."""
        if self._row_digests is not None:
            self._row_digests.close()


def _digest_row(row: bytes) -> bytes:
    return hashlib.blake2b(row, digest_size=16).digest()


def find_change_reasons(store: Store, run: Run, snapshot: SpecSnapshot) -> ChangeReasons:
    """Compare a run with the previous one of its spec, to explain why its requests have no result yet."""
    runs = (one for one in store.runs(run.spec) if one.id != run.id and one.state in _COMPARED_STATES)
    before = next((one for one in runs if one.purged_at is None), None)
    if before is None:
        return ChangeReasons(store, None, "data")
    try:
        then = read_snapshot(store, before)
    except StateError:
        return ChangeReasons(store, None, "data")
    return ChangeReasons(store, before, _find_default_reason(then, snapshot))


def _find_default_reason(then: SpecSnapshot, now: SpecSnapshot) -> str:
    if then.templates != now.templates or any(then.record.get(n) != now.record.get(n) for n in ("prompt", "vars")):
        return "prompt"
    is_same = all(then.record.get(n) == now.record.get(n) for n in ("params", "output_schema", "output", "betas"))
    return "again" if is_same else "params"
