"""Reuse of the results of earlier runs, and the reasons why the remaining requests are new."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runner.files.digest import sha256_of
from runner.results.outcome import parse_result
from runner.results.output_format import OutputFormat
from runner.store.request_index import SucceededRequests
from runner.store.run_folder import FileSlices
from runner.store.store import Store


class _Line(msgspec.Struct):
    result: msgspec.Raw


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
            is_same = known is None or sha256_of(path) == known.results_sha256
        except OSError:
            return None
        return path if is_same else None


def digest_row(row: bytes) -> bytes:
    """Return a digest of 16 bytes, by which equal rows are found."""
    return hashlib.blake2b(row, digest_size=16).digest()
