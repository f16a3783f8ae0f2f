"""Snapshot of a spec that a run was started with: written once, then read back and compared."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import msgspec

from runner.errors import StateError
from runner.files.atomic import atomic_write
from runner.sources.changed_files import digest_files
from runner.sources.input_files import InputFile
from runner.spec.endpoint import Endpoint
from runner.spec.record import compute_fingerprint, make_record
from runner.spec.spec import Spec
from runner.store.records import Run
from runner.store.store import Store

if TYPE_CHECKING:
    from runner.templates.templates import Templates


_MAX_SHOWN, _SHOWN_BEFORE = 40, 12


@dataclass(frozen=True, slots=True)
class SpecSnapshot:
    """Snapshot of what a run was started with, stored as `spec.json` in its folder.

    `record` holds the spec's settings (see `make_record`), and `templates` the files of prompts/.
    `limit` is the maximum number of rows, and `inputs` the files of the source. `types` holds JSON schemas of
    the source columns whose types are known. `retries` is the id of the run whose rows and good answers it took.
    `selected_rows` is, of a pilot, the number of rows from which its sample was drawn.
    """

    record: dict[str, Any]
    templates: dict[str, str]
    limit: int | None
    inputs: list[InputFile]
    types: dict[str, Any] = field(default_factory=dict)
    retries: str | None = None
    selected_rows: int | None = None

    def fingerprint(self) -> str:
        """Return the digest of everything the user wrote; input files are compared separately."""
        return compute_fingerprint({"record": self.record, "templates": self.templates, "limit": self.limit})


def _other_remedy(store: Store, run: Run) -> str:
    has_ended = run.state in ("finished", "abandoned")
    return f"run `runner purge {run.id}`, which keeps the outputs" if has_ended else store.remedy


def _describe_damage(store: Store, run: Run, error: OSError | ValueError) -> str:
    remedy = f"restore it from a backup, or {_other_remedy(store, run)}"
    if store.shared is not None and isinstance(error, FileNotFoundError):
        return (
            f"the files of run {run.id} are not in {store.shared.url}: let `files` be the folder of the run's "
            f"beginning; if that is lost, {remedy}"
        )
    reason = getattr(error, "strerror", error)
    return f"the spec snapshot of run {run.id} is damaged: {store.folder(run).spec}: {reason}; {remedy}"


def read_snapshot(store: Store, run: Run) -> SpecSnapshot:
    """Read the snapshot that a run was started with. Raises StateError if it is damaged or missing."""
    try:
        written = store.folder(run).spec.read_bytes()
        found = msgspec.json.decode(written, type=SpecSnapshot)
        is_same = hashlib.sha256(written).hexdigest() == run.spec_sha256 or run.spec_sha256 is None
        if not is_same or found.fingerprint() != run.fingerprint or found.record["name"] != run.spec:
            raise ValueError("its content differs from what was written")
        return found
    except (OSError, ValueError) as error:
        raise StateError(_describe_damage(store, run, error)) from error


def read_endpoint(store: Store, run: Run) -> Endpoint:
    """Return the platform that a run was started on, or that of Anthropic if the snapshot is damaged."""
    try:
        record = read_snapshot(store, run).record
    except StateError:
        return Endpoint()
    return msgspec.convert(record.get("api", {}), Endpoint)


def record_labels(store: Store, run: Run, labels: Mapping[str, str]) -> None:
    """Keep the labels that the spec of a run has now; they may change, so they are no part of its snapshot."""
    folder, written = store.folder(run), msgspec.json.encode(labels)
    path = folder.labels
    if written != (path.read_bytes() if path.exists() else b"{}"):
        with atomic_write(folder.to_write.labels, private=True) as file:
            file.write(written)
        folder.save(path)


def read_labels(store: Store, run: Run) -> dict[str, str]:
    """Return the labels that a run had when it was last started. Raises StateError if they are damaged."""
    path = store.folder(run).labels
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}; delete it, or start the run again") from error


def take_snapshot(spec: Spec, templates: "Templates", limit: int | None) -> SpecSnapshot:
    """Return the snapshot for a new run of a spec, before its inputs are read."""
    return SpecSnapshot(make_record(spec), templates.file_texts(), limit, [])


def _compare_settings(old: Any, new: Any, at: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _compare_settings(old.get(name), new.get(name), f"{at}.{name}" if at else name)
    elif old != new:
        texts = _show_setting(old), _show_setting(new)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
        short = [_shorten(text, same) for text in texts]
        # The sample of a pilot is drawn by its source, and given to the command, or as `pilot`.
        shown = at.removeprefix("source.") if at.startswith("source.pilot") else at
        yield f"{shown}: {short[0]} → {short[1]}"


def _show_setting(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def _shorten(text: str, same: int) -> str:
    """Return a text in at most about 40 characters, from shortly before the place where it begins to differ."""
    if len(text) <= _MAX_SHOWN:
        return text
    first = max(0, same - _SHOWN_BEFORE)
    start = "..." if first else ""
    rest = text[first:]
    most = _MAX_SHOWN - len(start)
    return start + (rest if len(rest) <= most else f"{rest[: most - 4]}...{rest[-1]}")


def describe_changes(before: SpecSnapshot, now: SpecSnapshot) -> list[str]:
    """Describe the differences of two snapshots, a line each: settings, prompts and the limit of rows."""
    found = list(_compare_settings(before.record, now.record))
    names = dict.fromkeys((*before.templates, *now.templates))
    found += [f"prompts/{n}: edited" for n in names if before.templates.get(n) != now.templates.get(n)]
    limits = f"--limit: {_show_setting(before.limit)} → {_show_setting(now.limit)}"
    return found if before.limit == now.limit else [*found, limits]


def origin_digest(spec: Spec, snapshot: SpecSnapshot) -> str:
    """Return the digest of a run's spec and input, from which the tag in its id is made.

    With a limit or a query, the input is not part of the digest and is not read. A run that retries another one
    has a digest of its own: to recover it would send the rows again whose answers it took over.
    """
    if snapshot.retries is not None:
        return hashlib.sha256(f"{snapshot.fingerprint()} retries {snapshot.retries}".encode()).hexdigest()
    is_limited = snapshot.limit is not None or spec.source.limit is not None
    inputs = "" if is_limited or spec.source.is_query else digest_files(spec.root, spec.source.path)
    return hashlib.sha256(f"{snapshot.fingerprint()} {inputs}".encode()).hexdigest()
