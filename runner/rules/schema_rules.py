"""Rule about output schemas that structured outputs do not support."""

from collections.abc import Iterator
from typing import Any

from runner.rules.finding import RuleContext, Violation

# Sources: platform.claude.com, structured outputs; and the keywords that the SDK removes from a schema (SDK 2.12,
# lib/_parse/_transform).
_SOURCE_PAGE = "platform.claude.com, structured outputs; SDK 2.12"


_UNSUPPORTED = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "minProperties",
    "maxProperties", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "unevaluatedItems", "if", "then", "else", "not",
)  # fmt: skip


_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


_SUBSCHEMA_MAPS = ("properties", "$defs", "definitions")


_SUBSCHEMA_LISTS = ("anyOf", "allOf", "oneOf")


def output_schema(case: RuleContext) -> Iterator[Violation]:
    """Report schema keywords that make the API reject every request."""
    schema = case.spec.output.schema
    if schema is None or not case.spec.is_schema_sent:
        return
    for path, what in _find_violations(schema, ()):
        at, pointer = ".".join(("output.schema", *path)), "/".join(("#", *path))
        message = (
            f"structured outputs do not support {what} at {pointer} ({_SOURCE_PAGE}): change it, or state it in a "
            "description"
        )
        # A schema in its own file has no positions in this spec.
        yield Violation(at if at in case.spec.positions else "output.schema", message)


def _find_violations(schema: Any, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if not isinstance(schema, dict):
        return
    for name in _UNSUPPORTED:
        if name in schema:
            yield at, name
    is_object = schema.get("type") == "object" or "properties" in schema
    if is_object and schema.get("additionalProperties") is not False:
        yield at, "an object without `additionalProperties: false`"
    if schema.get("minItems", 0) not in (0, 1):
        yield at, "minItems above 1"
    if "format" in schema and schema["format"] not in _FORMATS:
        yield at, f"the format {schema['format']!r}"
    if any(isinstance(value, dict | list) for value in schema.get("enum", ())):
        yield at, "an enum of objects or lists"
    if "$ref" in schema and not str(schema["$ref"]).startswith("#/"):
        yield at, f"the reference {schema['$ref']!r} (only references to $defs of the same schema)"
    yield from _find_nested_violations(schema, at)


def _find_nested_violations(schema: dict[str, Any], at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name in _SUBSCHEMA_MAPS:
        parts = schema.get(name)
        for key, part in parts.items() if isinstance(parts, dict) else ():
            yield from _find_violations(part, (*at, name, key))
    for name in _SUBSCHEMA_LISTS:
        for index, part in enumerate(schema.get(name, ())):
            yield from _find_violations(part, (*at, name, str(index)))
    yield from _find_violations(schema.get("items"), (*at, "items"))
