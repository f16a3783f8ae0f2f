"""The record of a spec in the snapshot of a run, and the Spec that it becomes again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from runner.spec.spec import EDITABLE_KEYS, Spec
from runner.spec.structured.enforcement import find_schema_in_params


def spec_from_record(record: Mapping[str, Any], *, path: Path, root: Path) -> Spec:
    """Return the Spec of a run's snapshot, with the editable settings at their defaults."""
    output = {**record.get("output", {}), "schema": record.get("output_schema")}
    if output["schema"] is None:
        found = find_schema_in_params(record["params"], output.get("tool"), output.get("parse"))
        output.update(schema=found, is_schema_in_params=found is not None)
    plain = {"sinks": [], **record, "output": output, "path": str(path), "root": str(root)}
    return msgspec.convert(plain, Spec, dec_hook=lambda kind, value: kind(value))


def restore_with_edits(record: Mapping[str, Any], *, current: Spec) -> Spec:
    """Return the Spec of a run's snapshot, with the editable settings of `current`, the current spec."""
    settings = {name: getattr(current, name) for name in EDITABLE_KEYS}
    recorded = spec_from_record(record, path=current.path, root=current.root)
    own = {
        name: getattr(current, name)
        for name in ("positions", "allow_at", "key_lines", "schema_path", "schema_positions")
    }
    return replace(recorded, **own, **settings)


def compute_fingerprint(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a snapshot; the order of its keys does not matter."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
