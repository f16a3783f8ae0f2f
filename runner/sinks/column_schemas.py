"""Column types of a sink: declared, or inferred from the names in its expressions."""

from collections.abc import Mapping
from typing import Any

from runner.results.output_format import CITATIONS_SCHEMA, describe_output
from runner.spec.spec import Sink, Spec
from runner.tabular.column_types import resolve_refs, schema_for_type, subschema_at
from runner.templates.expressions import parse_path
from runner.templates.known_fields import make_closed_schema

_TEXT_SCHEMA = {"type": "string"}


_ERROR_SCHEMA = {
    "type": "object",
    "properties": {"type": _TEXT_SCHEMA, "message": _TEXT_SCHEMA},
    "additionalProperties": False,
}


_PROVENANCE = {
    "run": _TEXT_SCHEMA,
    "round": {"type": "integer"},
    "attempts": {"type": "integer"},
    "cost": {"type": "number"},
    "prompt_sha256": _TEXT_SCHEMA,
    "finished_at": {"type": "string", "format": "date-time"},
}


def build_column_schemas(
    spec: Spec, sink: Sink, columns: Mapping[str, str], types: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the JSON schema of each column. It is empty if the type is unknown: the column is then text.

    `types` are the known schemas of the source's columns.
    """
    known = _record_schemas(spec, types)
    found = {}
    for name, expression in columns.items():
        steps = parse_path(expression)
        written = sink.types.get(name)
        if written is not None:
            found[name] = schema_for_type(written)
        else:
            found[name] = {} if steps is None else subschema_at(known.get(str(steps[0]), {}), steps[1:])
    return found


def build_record_schemas(spec: Spec, row_schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the fields of a row's final record, with `row_schema` as that of the row."""
    known, output = _record_schemas(spec, {}), describe_output(spec.output)
    return {**known, "output": output or known["output"], "row": row_schema, "wrong": _describe_wrong(spec)}


def _describe_wrong(spec: Spec) -> dict[str, Any]:
    """Return the schema of the evaluations that a row misses; it is empty if they have mistakes."""
    values = make_closed_schema({"expected": {}, "actual": {}})
    return make_closed_schema({one.name: values for one in spec.evaluate}) if spec.is_sound("evaluate") else {}


def _record_schemas(spec: Spec, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of the fields of a row's final record."""
    texts = dict.fromkeys(
        ("outcome", "reason", "stop_reason", "model", "custom_id", "batch_id", "variant"), _TEXT_SCHEMA
    )
    row = {"type": "object", "properties": dict(types), "additionalProperties": False} if types else {}
    key = {"type": "integer"} if spec.source.key is None else types.get(spec.source.key, _TEXT_SCHEMA)
    own = {"output": _output_schema(spec), "error": _ERROR_SCHEMA, "citations": CITATIONS_SCHEMA}
    return {**texts, **_PROVENANCE, "key": key, "row": row, **own}


def _output_schema(spec: Spec) -> dict[str, Any]:
    output = spec.output
    if output.schema is not None:
        return resolve_refs(output.schema, output.schema)
    if output.parse == "lines":
        return {"type": "array", "items": _TEXT_SCHEMA}
    return {} if output.tool or output.parse or spec.params.get("tools") else _TEXT_SCHEMA
