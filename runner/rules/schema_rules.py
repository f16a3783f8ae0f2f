"""Rule about output schemas that structured outputs do not support."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from runner.requests.sent_schema import close_objects, find_open_objects
from runner.rules.finding import RuleContext, Violation

# Sources: platform.claude.com, structured outputs; and what the SDK removes from a schema (SDK 2.14,
# lib/_parse/_transform), which a test compares.
_SOURCE_PAGE = "platform.claude.com, structured outputs; SDK 2.14"


# Limits over all schemas of one request (platform.claude.com, structured outputs; the API's messages).
_MAX_OPTIONAL, _MAX_UNIONS = 24, 16


# From a third-party copy of the page on structured outputs.
_PATTERN_LIMITS = {
    "a lookahead or lookbehind": re.compile(r"\(\?<?[=!]"),
    "a backreference": re.compile(r"\\[1-9]|\(\?P=|\\k<"),
    "a word boundary": re.compile(r"\\[bB]"),
}


UNSUPPORTED = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "minProperties",
    "maxProperties", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "unevaluatedItems", "if", "then", "else", "not",
)  # fmt: skip


FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


_SUBSCHEMA_MAPS = ("properties", "$defs", "definitions")


_SUBSCHEMA_LISTS = ("anyOf", "allOf", "oneOf")


class _Misfit(NamedTuple):
    """A part of a schema that structured outputs do not support; `is_doubtful` if no certain source says so."""

    path: tuple[str, ...]
    what: str
    is_doubtful: bool = False


def _list_sent_schemas(case: RuleContext) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each schema that the API enforces, with its dotted path: of the output, and of strict tools."""
    schema, config = case.spec.output.schema, case.params.get("output_config")
    if schema is not None and case.spec.is_schema_sent:
        yield "output.schema", close_objects(schema)
    form = config.get("format") if isinstance(config, dict) else None
    if isinstance(form, dict) and isinstance(form.get("schema"), dict):
        yield "params.output_config.format.schema", form["schema"]
    tools = case.params.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and tool.get("strict") is True and isinstance(tool.get("input_schema"), dict):
            yield f"params.tools.{index}.input_schema", tool["input_schema"]


def output_schema(case: RuleContext) -> Iterator[Violation]:
    """Report parts of sent schemas that make the API reject every request."""
    optional, unions, last = 0, 0, ""
    for setting, schema in _list_sent_schemas(case):
        remedy = "change it, or state it in a description"
        if setting == "output.schema":
            remedy += ", or set `output.parse: json`, which checks the schema without sending it"
        for path, what, is_doubtful in (*_find_misfits(schema, ()), *_find_recursion(schema)):
            at, pointer = ".".join((setting, *path)), "/".join(("#", *path))
            certain = "probably do not" if is_doubtful else "do not"
            message = f"structured outputs {certain} support {what} at {pointer} ({_SOURCE_PAGE}): {remedy}"
            is_known = at in case.spec.positions or at in case.spec.schema_positions
            place = at if is_known else setting
            yield Violation(place, message, "warning" if is_doubtful else None)
        optional, unions, last = optional + _count_optional(schema), unions + _count_unions(schema), setting
    for count, most, what in ((optional, _MAX_OPTIONAL, "optional properties"), (unions, _MAX_UNIONS, "unions")):
        if count > most:
            message = (
                f"structured outputs accept at most {most} {what} in one request, and this one has {count} "
                f"({_SOURCE_PAGE}): require more properties or use fewer unions, or set `output.parse: json`"
            )
            yield Violation(last, message)


def open_schema(case: RuleContext) -> Iterator[Violation]:
    """Report objects of the output schema to which `additionalProperties: false` is added when it is sent."""
    schema = case.spec.output.schema
    if schema is None or not case.spec.is_schema_sent:
        return
    pointers = ["/".join(("#", *path)) for path in find_open_objects(schema)]
    if pointers:
        more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
        message = (
            f"`additionalProperties: false` is added to {pointers[0]}{more} when the schema is sent, because "
            f"structured outputs require it ({_SOURCE_PAGE}): add it there, or `# runner: allow open-schema` here"
        )
        places = [".".join(("output.schema", *path)) for path in find_open_objects(schema)]
        yield Violation(places[0], message)


def _find_misfits(schema: Any, at: tuple[str, ...]) -> Iterator[_Misfit]:
    if not isinstance(schema, dict):
        return
    for name in UNSUPPORTED:
        if name in schema:
            yield _Misfit(at, name)
    kinds = schema.get("type")
    is_object = kinds == "object" or "properties" in schema
    if is_object and schema.get("additionalProperties") is not False:
        yield _Misfit(at, "an object without `additionalProperties: false`")
    elif isinstance(kinds, list) and "object" in kinds and schema.get("additionalProperties") is not False:
        yield _Misfit(at, "an object or null without `additionalProperties: false`", is_doubtful=True)
    if schema.get("minItems", 0) not in (0, 1):
        yield _Misfit(at, "minItems above 1")
    if "format" in schema and schema["format"] not in FORMATS:
        yield _Misfit(at, f"the format {schema['format']!r}")
    if any(isinstance(value, dict | list) for value in schema.get("enum", ())):
        yield _Misfit(at, "an enum of objects or lists")
    if "$ref" in schema and not str(schema["$ref"]).startswith("#/"):
        yield _Misfit(at, f"the reference {schema['$ref']!r} (only references to $defs of the same schema)")
    yield from _find_doubtful(schema, at)
    yield from _find_nested_misfits(schema, at)


def _find_doubtful(schema: dict[str, Any], at: tuple[str, ...]) -> Iterator[_Misfit]:
    """Yield what the SDK's transform strips or refuses, or only a third-party copy of the page names."""
    if isinstance(schema.get("const"), dict | list):
        yield _Misfit(at, "a const that is an object or a list", is_doubtful=True)
    if not schema.keys() & {"type", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"}:
        yield _Misfit(at, "a part without a type", is_doubtful=True)
    for what, pattern in _PATTERN_LIMITS.items():
        if pattern.search(str(schema.get("pattern", ""))):
            yield _Misfit(at, f"{what} in a pattern", is_doubtful=True)
    parts = schema.get("allOf")
    if any(isinstance(part, dict) and "$ref" in part for part in (parts if isinstance(parts, list) else ())):
        yield _Misfit(at, "allOf with a $ref", is_doubtful=True)


def _list_parts(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the schema of each part of a schema."""
    for name in _SUBSCHEMA_MAPS:
        parts = schema.get(name)
        for key, part in parts.items() if isinstance(parts, dict) else ():
            yield (name, key), part
    for name in _SUBSCHEMA_LISTS:
        parts = schema.get(name)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            yield (name, str(index)), part
    if "items" in schema:
        yield ("items",), schema["items"]


def _find_nested_misfits(schema: dict[str, Any], at: tuple[str, ...]) -> Iterator[_Misfit]:
    for path, part in _list_parts(schema):
        yield from _find_misfits(part, (*at, *path))


def _find_recursion(root: dict[str, Any]) -> Iterator[_Misfit]:
    """Yield the parts of a schema that refer to themselves, directly or through others."""
    for target in dict.fromkeys(_list_references(root)):
        reached, new = set[str](), {target}
        while new:
            new = {one for found in new for one in _list_references(_resolve(root, found))} - reached
            reached |= new
        if target in reached and target.startswith("#/"):
            yield _Misfit(tuple(target.split("/")[1:]), "a definition that refers to itself")


def _resolve(root: dict[str, Any], reference: str) -> Any:
    """Return the part of a schema that a reference names, or None."""
    part: Any = root if reference.startswith("#/") else None
    for step in reference.split("/")[1:]:
        part = part.get(step) if isinstance(part, dict) else None
    return part


def _list_references(schema: Any) -> list[str]:
    if not isinstance(schema, dict):
        return []
    found = [str(schema["$ref"])] if "$ref" in schema else []
    for _, part in _list_parts(schema):
        found += _list_references(part)
    return found


def _count_optional(schema: Any) -> int:
    """Count the properties that a schema does not require, in all of its parts."""
    if not isinstance(schema, dict):
        return 0
    properties, required = schema.get("properties"), schema.get("required")
    names = set(properties) if isinstance(properties, dict) else set()
    own = len(names - set(required if isinstance(required, list) else ()))
    return own + sum(_count_optional(part) for _, part in _list_parts(schema))


def _count_unions(schema: Any) -> int:
    """Count the parts of a schema that allow several types."""
    if not isinstance(schema, dict):
        return 0
    is_union = isinstance(schema.get("type"), list) or bool(schema.keys() & {"anyOf", "oneOf"})
    return int(is_union) + sum(_count_unions(part) for _, part in _list_parts(schema))
