"""Explain why requests are new: what changed since the previous run of the spec."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import StateError
from runner.lifecycle.prepare.reuse import digest_row
from runner.requests.params import build_params_without_prompt
from runner.runs.snapshot import SpecSnapshot, read_snapshot
from runner.spec.record import spec_from_record
from runner.store.records import Run
from runner.store.store import Store
from runner.store.temporary.digest_index import DigestIndex

_COMPARED_STATES = ("running", "finished", "abandoned")


class _Row(msgspec.Struct):
    row: msgspec.Raw


@dataclass(slots=True)
class ChangeReasons:
    """Reasons why requests have no result yet: the changes since the previous run of the spec.

    `previous_run` is that run, and `default` the reason for rows that it had too, or for all rows without it.
    """

    store: Store
    previous_run: Run | None
    default: str
    _row_digests: DigestIndex | None = field(default=None)

    def reason_for(self, fields: bytes) -> str:
        """Return why the request of a row with this JSON is new.

        `data`: the previous run had no such row; `rest` if that was a pilot, which has few. `prompt` or `params`:
        these have changed. `schema`: the output schema, or how it is sent. `again`: nothing that is sent has
        changed, but there is no result to reuse. `purged`: all previous runs were purged. A request whose answers
        are all invalid has the reason `invalid` instead, which `FirstRound` finds.
        """
        if self.previous_run is None:
            return self.default
        if self._row_digests is None:
            self._row_digests = DigestIndex()
            for number, row in enumerate(self._read_rows(self.previous_run), 1):
                self._row_digests.setdefault(digest_row(row), number)
        if digest_row(fields) in self._row_digests:
            return self.default
        return "rest" if self.previous_run.is_pilot else "data"

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


def find_change_reasons(store: Store, run: Run, snapshot: SpecSnapshot) -> ChangeReasons:
    """Compare a run with the previous one of its spec, to explain why its requests have no result yet."""
    runs = [one for one in store.runs(run.spec) if one.id != run.id and one.state in _COMPARED_STATES]
    # A pilot has few of the rows: a run of all says more.
    runs.sort(key=lambda one: one.is_pilot)
    before = next((one for one in runs if one.purged_at is None), None)
    if before is None:
        return ChangeReasons(store, None, "purged" if runs else "data")
    try:
        then = read_snapshot(store, before)
    except StateError:
        return ChangeReasons(store, None, "data")
    return ChangeReasons(store, before, find_default_reason(then, snapshot))


def find_default_reason(then: SpecSnapshot, now: SpecSnapshot) -> str:
    """Return what has changed in the same rows' requests: `prompt`, `params`, `schema`, or nothing (`again`)."""
    if then.templates != now.templates or any(then.record.get(n) != now.record.get(n) for n in ("prompt", "vars")):
        return "prompt"
    if _sent_settings(then) == _sent_settings(now):
        return "again"
    is_written_alike = all(then.record.get(name) == now.record.get(name) for name in ("params", "betas"))
    return "schema" if is_written_alike else "params"


def _sent_settings(snapshot: SpecSnapshot) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return everything that is sent besides the prompt: of the output, only the parts that the API sees."""
    spec = spec_from_record(snapshot.record, path=Path(), root=Path())
    return build_params_without_prompt(spec), spec.betas
