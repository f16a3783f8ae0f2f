"""Short ways to write sinks and to read their outputs."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner import load_spec
from runner.sinks.destination import Destination
from runner.sinks.open import open_sink
from runner.spec.spec import Spec
from runner.templates.expressions import RECORD_FIELDS
from tests.support.projects import SPEC


def spec_with(root: Path, *sinks: dict[str, Any], **changes: Any) -> Spec:
    """A spec with these sinks and changes, written into `root`."""
    spec = {
        "version": 1,
        "name": "t",
        "source": {"type": "csv", "path": "in.csv"},
        "prompt": {"user": "x"},
        "params": {"model": "m", "max_tokens": 9},
        "sinks": [{"type": "jsonl", "path": "out/o", **sink} for sink in sinks],
        **changes,
    }
    (root / "t.yaml").write_text(json.dumps(spec, indent=1))
    return load_spec(root / "t.yaml")


def outcome_record(outcome: str = "succeeded", **known: Any) -> dict[str, Any]:
    """The final record of one row."""
    return {**dict.fromkeys(RECORD_FIELDS), "key": "k1", "row": {"a": 1}, "outcome": outcome, **known}


def written_bytes(root: Path, records: Iterable[dict[str, Any]], *, name: str = "o", **sink: Any) -> bytes:
    """The bytes of the file that a sink makes of records."""
    path = root / "out" / name
    with open_sink(spec_with(root, sink), 0, Destination(path), {}) as take:
        for each in records:
            take(each)
    return path.read_bytes()


def csv_cells(data: bytes, delimiter: str = ",") -> list[list[str]]:
    """The rows of a CSV file, header first."""
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True))


TYPED_SCHEMA = {
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
            "additionalProperties": False,
        }
    },
    "type": "object",
    "properties": {
        "total": {"type": "number"},
        "count": {"type": ["integer", "null"]},
        "sure": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
        "label": {"enum": ["a", "b"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "more": {"type": "object"},
    },
}
TYPED_ANSWER = {
    "total": 3, "count": None, "sure": True, "day": "2026-11-25", "label": "a",
    "lines": [{"name": "x", "n": 1}, {"name": "é"}], "more": {"k": [1]},
}  # fmt: skip
TYPED_SINK_COLUMNS = {name: f"output.{name}" for name in TYPED_ANSWER}


def typed_spec(root: Path, **sink: Any) -> Spec:
    spec = json.loads(json.dumps(SPEC))
    columns = {"id": "key", **TYPED_SINK_COLUMNS, "money": "output.total", "row": "row", "why": "error.message"}
    types = {"money": "decimal(10,2)"}
    spec["sinks"] = [{"path": "out/o", "columns": columns, "types": types, **sink}]
    spec["output"] = {"schema": TYPED_SCHEMA}
    (root / "prompts").mkdir(exist_ok=True)
    (root / "typed.yaml").write_text(json.dumps(spec))
    return load_spec(root / "typed.yaml")


FAILED_RECORD = outcome_record(
    "invalid", key="k2", output="no JSON", error={"type": "invalid", "message": "not JSON"}
)


def write_sink(spec: Spec, at: Destination, *records: dict[str, Any], types: Any = None) -> None:
    with open_sink(spec, 0, at, types or {}) as take:
        for one in records:
            take(one)


def sql_sink(**sink: Any) -> dict[str, Any]:
    return {"type": "sql", "key": "id", "columns": {"id": "key", "label": "output.label"}, **sink}
