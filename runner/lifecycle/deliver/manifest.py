"""Write the manifest of a finished run: what its requests were made of, and what came of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import InputError
from runner.files.atomic import atomic_write
from runner.files.digest import sha256_of
from runner.files.markers import SUCCESS_MARKER
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.runs.summary import Summary
from runner.sinks.destination import resolve_path
from runner.sources.input_files import InputFile
from runner.spec.record import compute_fingerprint


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _digest_attachments(path: Path) -> str | None:
    """Return the digest of the files that rows attach, by path and content; None if they attach none."""
    if not path.exists():
        return None
    with path.open("rb") as lines:
        found = {one.path: one.sha256 for one in (msgspec.json.decode(line, type=InputFile) for line in lines)}
    return _digest(found) if found else None


def _find_version() -> str | None:
    # Imported here: only a manifest needs it.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("message-batch-runner")
    except PackageNotFoundError:
        return None


def describe_inputs(context: RunContext) -> dict[str, Any]:
    """Return everything that the requests of a run follow from, as digests and names.

    If two runs have the same, each row has the same request in both.
    """
    run, store = context.run, context.store
    snapshot = read_snapshot(store, run)
    schema = snapshot.record.get("output_schema")
    return {
        "runner": _find_version(),
        "spec": compute_fingerprint(snapshot.record),
        "model": snapshot.record["params"]["model"],
        "params": _digest(snapshot.record["params"]),
        "prompts": {name: _digest_text(text) for name, text in sorted(snapshot.templates.items())},
        "schema": None if schema is None else _digest(schema),
        "source": {one.path: one.sha256 or None for one in snapshot.inputs},
        "rows": {"count": run.rows, "sha256": run.rows_sha256},
        "attached": _digest_attachments(store.folder(run).attachments),
        "limit": snapshot.limit,
        "retries": snapshot.retries,
        "cache": run.cache,
    }


def _format_time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _describe_sink(sink: Mapping[str, Any]) -> dict[str, Any]:
    """Return a written output, with its digest if it is one file on this machine, or those of its parts."""
    path = Path(sink["path"])
    is_file = sink["type"] != "sql" and path.is_file()
    found = {**sink, "sha256": sha256_of(path) if is_file else None}
    if (path / SUCCESS_MARKER).exists():
        found["parts"] = {part.name: sha256_of(part) for part in sorted(path.glob("part-*"))}
    return found


def _describe_run(context: RunContext, summary: Summary) -> dict[str, Any]:
    path, run = context.spec.path, context.run
    return {
        "run": run.id,
        "spec": {"name": run.spec, "path": str(path), "sha256": sha256_of(path) if path.is_file() else None},
        "started_at": _format_time(run.started_at),
        "finished_at": _format_time(run.finished_at),
        "is_simulated": summary.is_simulated,
        "is_pilot": summary.is_pilot,
        "mode": run.mode,
        "rows": summary.rows,
        "outcomes": summary.outcomes,
        "usage": summary.usage,
        "cost": summary.cost,
        "evaluation": msgspec.to_builtins(summary.evaluation),
        "batches": [one["id"] for one in summary.batches if one["id"] is not None],
    }


def write_manifest(context: RunContext, summary: Summary, sinks: Sequence[Mapping[str, Any]]) -> None:
    """Write the manifest of a finished run, if its spec names one.

    That of a partial run is beside that of complete outputs. Raises InputError if it cannot be written.
    """
    spec = context.spec
    if spec.manifest is None:
        return
    path = resolve_path(spec.manifest, root=spec.root, base=context.output_root)
    if any("instead_of" in one for one in sinks):
        path = path.with_name(f"{path.stem}.partial{path.suffix}")
    found = {
        "inputs": describe_inputs(context),
        **_describe_run(context, summary),
        "sinks": [_describe_sink(one) for one in sinks],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, skip_if_unchanged=True) as file:
            file.write(json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        message = (
            f"manifest: cannot write {path}: {error.strerror}; correct it and run again: nothing is sent twice"
        )
        raise InputError([spec.problem("manifest", message)]) from error
