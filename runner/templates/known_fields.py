"""Find fields in an expression that cannot exist, by the JSON schemas of its names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import nodes

from runner.spec.schema_errors import suggest_similar
from runner.templates.suggestions import suggest_name
from runner.templates.variables import find_tested_names

Steps = Sequence[str | int]
"""A plain path such as `output.lines[0].total`: its name, fields and indexes."""

_ATTRIBUTE_FILTERS = ("selectattr", "rejectattr", "groupby")
_OPEN_KEYWORDS = {"allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "if", "patternProperties", "dependentSchemas"}
_KINDS = {
    "string": "text",
    "array": "a list",
    "integer": "a number",
    "number": "a number",
    "boolean": "true or false",
}


def make_closed_schema(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a mapping that has these fields and no others."""
    return {"type": "object", "properties": dict(fields), "additionalProperties": False}


def path_steps(node: nodes.Node) -> list[str | int] | None:
    """Return the steps of the tree of a plain path such as `output.lines[0].total`, or None."""
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr):
        above, step = path_steps(node.node), node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        above, step = path_steps(node.node), node.arg.value
    else:
        return None
    return None if above is None else [*above, step]


def find_unknown_field(tree: nodes.Template, schemas: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the message and line of the first field that the schemas rule out, or None.

    A name without a schema can have any field. As in templates, fields that are tested before use are allowed.
    """
    tested = find_tested_names(tree)
    for node, steps in _find_used_paths(tree):
        if steps[0] in schemas and not tested.intersection(str(step) for step in steps):
            message = _check_steps(steps, schemas[str(steps[0])])
            if message is not None:
                return message, node.lineno
    return None


def _find_used_paths(tree: nodes.Template) -> Iterator[tuple[nodes.Node, list[str | int]]]:
    """Yield each path that is read, also those of attributes that filters read from the items of a list."""
    called = {id(node.node) for node in tree.find_all(nodes.Call)}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if id(node) not in called and (steps := path_steps(node)) is not None:
            yield node, steps
    for use in tree.find_all(nodes.Filter):
        attribute = _read_attribute(use)
        above = None if use.node is None else path_steps(use.node)
        if attribute is not None and above is not None:
            yield use, [*above, 0, attribute]


def _read_attribute(use: nodes.Filter) -> str | None:
    """Return the attribute that a filter such as `sum(attribute='amount')` reads, or None."""
    written = [one.value for one in use.kwargs if one.key == "attribute"]
    if use.name in _ATTRIBUTE_FILTERS:
        written += use.args[:1]
    found = next((one.value for one in written if isinstance(one, nodes.Const)), None)
    return found.partition(".")[0] if isinstance(found, str) else None


def _check_steps(steps: Steps, schema: Any) -> str | None:
    """Return why the first step that is ruled out cannot exist, or None."""
    where = str(steps[0])
    for step in steps[1:]:
        kinds = _find_kinds(schema)
        if isinstance(step, int):
            schema = schema.get("items") if kinds == {"array"} else None
            where += f"[{step}]"
        elif kinds and "object" not in kinds:
            shown = " or ".join(sorted(_KINDS.get(kind, kind) for kind in kinds))
            return f"{where} is {shown} and has no field {step!r}"
        else:
            fields = _find_fields(schema)
            if fields is not None and step not in fields:
                suggest = suggest_name if where == "row" else suggest_similar
                return f"{where} has no field {step!r}: {suggest(str(step), list(fields))}"
            schema = None if fields is None else fields[step]
            where += f".{step}"
        if not isinstance(schema, Mapping):
            return None
    return None


def _find_kinds(schema: Mapping[str, Any]) -> set[str]:
    """Return the types of values besides null, or none if the schema does not restrict them."""
    types = schema.get("type")
    return {str(name) for name in (types if isinstance(types, list) else [types])} - {"null", "None"}


def _find_fields(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the fields of a mapping by name, or None if it can have fields that are not listed."""
    fields = schema.get("properties")
    is_open = bool(schema.keys() & _OPEN_KEYWORDS) or schema.get("additionalProperties", False) is not False
    return None if is_open or not isinstance(fields, Mapping) else fields
