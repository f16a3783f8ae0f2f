"""Reuse of the results of earlier runs."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import StateError
from runner.files.digest import sha256_of
from runner.results.json_answer import replace_surrogates
from runner.results.outcome import parse_result
from runner.results.output_format import OutputFormat
from runner.runs.snapshot import read_snapshot
from runner.spec.spec import Spec
from runner.store.index.answer_index import AnsweredRequests, Location
from runner.store.records import Run
from runner.store.run_folder import FileSlices
from runner.store.store import Store


class _Line(msgspec.Struct):
    result: msgspec.Raw


_decode_line = msgspec.json.Decoder(_Line).decode


def renamed_line(line: bytes, custom_id: str) -> bytes:
    """Return a line of results under another custom_id."""
    try:
        result = _decode_line(line).result
    except msgspec.DecodeError:
        result = _decode_line(replace_surrogates(line)).result
    return b'{"custom_id":"%b","result":%b}' % (custom_id.encode(), bytes(result))


RunBatchKey = tuple[int, int, int]
"""Run, round and batch."""


@dataclass(frozen=True, slots=True)
class PreviousResults:
    """Answers to requests of the runs in `store`, judged by the rules of the current spec.

    `verified_paths` caches the results file of each batch, or None if the file is missing or was changed.
    """

    store: Store
    index: AnsweredRequests | None
    slices: FileSlices
    output_format: OutputFormat
    verified_paths: dict[RunBatchKey, Path | None] = field(default_factory=dict)

    def find_result(self, digest: bytes, custom_id: str, row: Mapping[str, Any]) -> tuple[bytes | None, bool]:
        """Return the line of a valid result for a request, and whether the request has an answer at all.

        The line is under the given custom_id. It is None if no intact answer is valid. Every answer is judged,
        also one that was valid before: the rules may have changed, and no file digest covers reused results.
        """
        has_answer = False
        for place in self.index.find(digest) if self.index is not None else ():
            line = self._read_line(place)
            try:
                outcome = None if line is None else parse_result(line, self.output_format, row).outcome
                if line is not None and outcome == "succeeded":
                    return renamed_line(line, custom_id), True
            except ValueError:
                continue
            has_answer = has_answer or outcome is not None
        return None, has_answer

    def _read_line(self, place: Location) -> bytes | None:
        """Return the line at a place, or None if its file is missing or was changed."""
        key = place[:3]
        if key not in self.verified_paths:
            self.verified_paths[key] = self._verify_path(*key)
        path = self.verified_paths[key]
        try:
            return None if path is None else self.slices.read(path, place.offset, place.length)
        except OSError:
            return None

    def _verify_path(self, number: int, round: int, batch: int) -> Path | None:
        """Return the results file of a batch, or None if it is missing or was changed.

        In that case the requests of the batch are sent again.
        """
        run = next(run for run in self.store.runs() if run.number == number)
        path = self.store.folder(run).results(round, batch)
        known = next((b for b in self.store.batches(run) if (b.round, b.batch) == (round, batch)), None)
        try:
            is_same = known is None or sha256_of(path) == known.results_sha256
        except OSError:
            return None
        return path if is_same else None


def digest_row(row: bytes) -> bytes:
    """Return a digest of 16 bytes, by which equal rows are found."""
    return hashlib.blake2b(row, digest_size=16).digest()


def keep_params_order(spec: Spec, store: Store) -> Spec:
    """Return a spec whose `params` have the order of keys of an earlier run that had the same ones.

    Requests are found by the digest of their bytes: in another order, every row would be sent and paid again. The
    runs of the spec come before those of others, and the order as it is written before that of the newest run.
    """
    for runs in (store.runs(spec.name), store.runs()):
        newest = None
        for earlier in _read_equal_params(store, runs, spec):
            if list(earlier) == list(spec.params):
                return spec
            newest = newest or earlier
        if newest is not None:
            return replace(spec, params=newest)
    return spec


def _read_equal_params(store: Store, runs: Iterable[Run], spec: Spec) -> Iterator[dict[str, Any]]:
    """Yield the params of the runs that had the same as a spec, in any order."""
    written = _sort_params(spec.params)
    for run in runs:
        if run.purged_at is not None or run.state == "preparing":
            continue
        with suppress(StateError):
            earlier = read_snapshot(store, run).record["params"]
            if _sort_params(earlier) == written:
                yield earlier


def _sort_params(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return params by name. The order within each is kept, since that of a schema can change answers."""
    return sorted((name, json.dumps(value)) for name, value in params.items())
