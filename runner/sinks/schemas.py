"""Column types of a sink: declared, or inferred from the names in its expressions."""

from collections.abc import Mapping
from typing import Any

from runner.columns import below, inlined, schema_of
from runner.prompt.expression import path_of
from runner.spec.spec import Sink, Spec

_TEXT = {"type": "string"}
_ERROR = {"type": "object", "properties": {"type": _TEXT, "message": _TEXT}, "additionalProperties": False}


def schemas(spec: Spec, sink: Sink, columns: Mapping[str, str], types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of each column. It is empty if the type is unknown: the column is then text.

    `types` are the known schemas of the source's columns.
    """
    known = _record(spec, types)
    found = {}
    for name, expression in columns.items():
        steps = path_of(expression)
        written = sink.types.get(name)
        if written is not None:
            found[name] = schema_of(written)
        else:
            found[name] = {} if steps is None else below(known.get(str(steps[0]), {}), steps[1:])
    return found


def _record(spec: Spec, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of the fields of a row's final record."""
    texts = dict.fromkeys(("outcome", "stop_reason", "model", "custom_id", "batch_id"), _TEXT)
    row = {"type": "object", "properties": dict(types), "additionalProperties": False} if types else {}
    key = {"type": "integer"} if spec.source.key is None else types.get(spec.source.key, _TEXT)
    return {**texts, "key": key, "row": row, "output": _output(spec), "error": _ERROR}


def _output(spec: Spec) -> dict[str, Any]:
    output = spec.output
    if output.schema is not None:
        return inlined(output.schema, output.schema)
    if output.parse == "lines":
        return {"type": "array", "items": _TEXT}
    return {} if output.tool or output.parse or spec.params.get("tools") else _TEXT
