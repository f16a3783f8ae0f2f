"""What earlier runs have to say of a new one: answers that need not be paid again, and why the rest must be."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from runner.errors import StateError
from runner.lifecycle.record import Recorded, recorded
from runner.outcome import Validate, read
from runner.store import Answers, Digests, Pieces, Run, Store

_SEEN = ("running", "finished", "abandoned")


class _Line(msgspec.Struct):
    result: msgspec.Raw


class _Row(msgspec.Struct):
    row: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Earlier:
    """The answers of the runs in `store`, as far as they still are what a spec asks for."""

    store: Store
    answers: Answers | None
    files: Pieces
    validate: Validate | None

    def line(self, digest: bytes, custom_id: str) -> bytes | None:
        """The line of results that answers a request, under another custom_id; None if there is none to trust."""
        found = self.answers.find(digest) if self.answers is not None else None
        if found is None:
            return None
        path = self.store.folder_of(found.run).results(found.round, found.batch)
        try:
            line = self.files.read(path, found.offset, found.length)
            if read(line, self.validate).outcome != "succeeded":
                return None
            result = msgspec.json.decode(line, type=_Line).result
        except (OSError, ValueError):
            # Damaged or gone: then it is sent.
            return None
        return b'{"custom_id":"%b","result":%b}' % (custom_id.encode(), bytes(result))


@dataclass(slots=True)
class Reasons:
    """Why requests have no answer yet: what has changed since the newest run of the spec before this one."""

    store: Store
    before: Run | None
    otherwise: str
    _rows: Digests | None = field(default=None)

    def of(self, fields: bytes) -> str:
        """Why the request of a row with this JSON is new.

        `data`: there was no such row; else `prompt`, `params`, or `again` if nothing has changed, and no answer to
        it can be taken.
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
            # Only the reasons suffer.
            return

    def close(self) -> None:
        """Forget the rows of the run before."""
        if self._rows is not None:
            self._rows.close()


def _digest(row: bytes) -> bytes:
    return hashlib.blake2b(row, digest_size=16).digest()


def reasons(store: Store, run: Run, start: Recorded) -> Reasons:
    """Why requests of a run that is started as recorded have no answer yet."""
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
    is_same = all(then.record.get(n) == now.record.get(n) for n in ("params", "output_schema", "betas"))
    return "again" if is_same else "params"
