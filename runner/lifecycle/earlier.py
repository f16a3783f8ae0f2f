"""Reuse of the results of earlier runs, and the reasons why the remaining requests are new."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import StateError
from runner.form import Form
from runner.lifecycle.record import Recorded, recorded
from runner.outcome import read
from runner.store.folder import Pieces
from runner.store.known import Answers, Digests
from runner.store.records import Run
from runner.store.state import Store

_SEEN = ("running", "finished", "abandoned")


class _Line(msgspec.Struct):
    result: msgspec.Raw


class _Row(msgspec.Struct):
    row: msgspec.Raw


_decode = msgspec.json.Decoder(_Line).decode
Place = tuple[int, int, int]
"""Run, round and batch."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Results of the runs in `store` that are still valid for a spec.

    `paths` caches the results file of each batch, or None if the file is missing or was changed.
    """

    store: Store
    answers: Answers | None
    files: Pieces
    form: Form
    paths: dict[Place, Path | None] = field(default_factory=dict)

    def line(self, digest: bytes, custom_id: str, row: Mapping[str, Any]) -> bytes | None:
        """Return the result line for a request, under the given custom_id; None if there is no intact one."""
        found = self.answers.find(digest) if self.answers is not None else None
        if found is None:
            return None
        place = found[:3]
        if place not in self.paths:
            self.paths[place] = self._sound(*place)
        path = self.paths[place]
        if path is None:
            return None
        try:
            line = self.files.read(path, found.offset, found.length)
            # A result that a run reused from another (batch 0) is not covered by a file digest. The rules for
            # a valid output can have changed as well.
            is_in_doubt = found.batch == 0 or self.form.is_local
            if is_in_doubt and read(line, self.form, row).outcome != "succeeded":
                return None
            return b'{"custom_id":"%b","result":%b}' % (custom_id.encode(), bytes(_decode(line).result))
        except (OSError, ValueError):
            return None

    def _sound(self, number: int, round: int, batch: int) -> Path | None:
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
class Reasons:
    """Reasons why requests have no result yet: the changes since the previous run of the spec.

    `before` is that run, and `otherwise` the reason for rows that it had too.
    """

    store: Store
    before: Run | None
    otherwise: str
    _rows: Digests | None = field(default=None)

    def of(self, fields: bytes) -> str:
        """Return why the request of a row with this JSON is new.

        `data`: the previous run had no such row. `prompt` or `params`: these have changed. `again`: nothing has
        changed, but there is no result to reuse.
        """
        if self.before is None:
            return "data"
        if self._rows is None:
            self._rows = Digests()
            for number, row in enumerate(self._recorded(self.before), 1):
                self._rows.first(_digest(row), number)
        return self.otherwise if _digest(fields) in self._rows else "data"

    def _recorded(self, run: Run) -> Iterator[bytes]:
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
        if self._rows is not None:
            self._rows.close()


def _digest(row: bytes) -> bytes:
    return hashlib.blake2b(row, digest_size=16).digest()


def reasons(store: Store, run: Run, start: Recorded) -> Reasons:
    """Compare a run with the previous one of its spec, to explain why its requests have no result yet."""
    runs = (one for one in store.runs(run.spec) if one.id != run.id and one.state in _SEEN)
    before = next((one for one in runs if one.purged_at is None), None)
    if before is None:
        return Reasons(store, None, "data")
    try:
        then = recorded(store, before)
    except StateError:
        return Reasons(store, None, "data")
    return Reasons(store, before, _changed(then, start))


def _changed(then: Recorded, now: Recorded) -> str:
    if then.templates != now.templates or any(then.record.get(n) != now.record.get(n) for n in ("prompt", "vars")):
        return "prompt"
    is_same = all(then.record.get(n) == now.record.get(n) for n in ("params", "output_schema", "output", "betas"))
    return "again" if is_same else "params"
