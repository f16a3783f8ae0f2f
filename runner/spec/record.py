"""The record of a spec in the snapshot of a run, and the Spec that it becomes again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from runner.spec.endpoint import Endpoint
from runner.spec.redact import redact_passwords
from runner.spec.spec import SELECTION_KEYS, Spec
from runner.spec.structured.enforcement import find_schema_in_params

EDITABLE_KEYS = (
    "description", "tags", "labels", "batch", "retry", "sinks", "mode", "deadline", "is_deadline_hard",
    "on_deadline", "pilot", "max_failed_in_pilot", "canary", "reuse", "limits", "prices", "sync", "allow",
    "evaluate", "notify", "manifest", "report",
)  # fmt: skip
"""The settings that may be edited while a run is unfinished."""

_PLACES = (
    "path", "root", "positions", "schema_path", "allow_at", "key_lines", "broken", "schema_positions", "variants",
)  # fmt: skip
"""Fields of a spec that say where its parts and its siblings are written; they do not affect a run."""


def make_record(spec: Spec) -> dict[str, Any]:
    """Return the snapshot of the spec: everything that affects requests and outcomes, as plain values.

    It excludes the settings that may be edited during a run, such as its description, polling and sinks.
    """
    plain = replace(spec, source=replace(spec.source, given=None))
    record: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plain, enc_hook=str))
    for name in (*_PLACES, *EDITABLE_KEYS):
        del record[name]
    # Compatibility: older snapshots store the schema at the top level, and have no `output`.
    record["output_schema"] = record["output"].pop("schema")
    if record["output"].pop("is_schema_in_params"):
        record["output_schema"] = None
    if not spec.output.allow_empty:
        del record["output"]["allow_empty"]
    if spec.output.enforce != "here":
        # The others follow from `tool` and `parse`; older snapshots have none of them.
        del record["output"]["enforce"]
    if not any(record["output"].values()):
        del record["output"]
    for name in ("path", "url"):
        if name in spec.source.options:
            record["source"]["options"][name] = redact_passwords(str(spec.source.options[name]))
    for name in (*SELECTION_KEYS, "output", "pilot", "given"):
        if record["source"][name] in (0, None, [], {}):
            del record["source"][name]
    if not spec.betas:
        # Compatibility: older snapshots have neither `betas` nor `api`.
        del record["betas"]
    record["api"] = {name: value for name, value in record["api"].items() if value is not None}
    if spec.api == Endpoint():
        del record["api"]
    _drop_unset_block_settings(record["prompt"])
    # A mark that the runner sets itself belongs to a run, not to its spec.
    record["prompt"]["cache"] = spec.prompt.mark_ttl
    return record


def _drop_unset_block_settings(prompt: dict[str, Any]) -> None:
    """Remove settings of blocks that older snapshots do not have, so that they stay equal."""
    contents = [prompt["system"], prompt["user"], *(turn["content"] for turn in prompt["messages"])]
    for content in contents:
        for block in content if isinstance(content, list) else ():
            for name in ("pages", "convert"):
                if isinstance(block, dict) and not block[name]:
                    del block[name]


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
        for name in ("positions", "allow_at", "key_lines", "schema_path", "schema_positions", "variants")
    }
    return replace(recorded, **own, **settings)


def compute_fingerprint(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a snapshot; the order of its keys does not matter."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
