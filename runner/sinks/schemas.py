"""The types of the columns of a sink: as it says, or as they follow from what its expressions name."""

from collections.abc import Mapping
from typing import Any

from runner.columns import below, inlined, schema_of
from runner.prompt import path_of
from runner.spec import Sink, Spec

_TEXT = {"type": "string"}
_ERROR = {"type": "object", "properties": {"type": _TEXT, "message": _TEXT}, "additionalProperties": False}


def schemas(spec: Spec, sink: Sink, columns: Mapping[str, str], types: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of each column, empty where it is not known: then it is stored as text.

    `types` are schemas of the columns of the source, as far as it knows them.
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
    """The schemas of what is known of a row at the end."""
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
