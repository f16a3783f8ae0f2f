"""The part of JSON schema that structured outputs support.

Sources: platform.claude.com, structured outputs; and what the SDK's own transform keeps of a schema (SDK 2.14,
lib/_parse/_transform), which a test compares.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner.spec.structured.references import DEFINITIONS, list_parts

FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
"""The formats of texts that structured outputs enforce."""

CONSTRAINTS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "minProperties",
    "maxProperties", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "unevaluatedItems", "if", "then", "else", "not",
)  # fmt: skip
"""The keywords that structured outputs do not enforce, whatever their value."""

MAX_OPTIONAL, MAX_UNIONS = 24, 16
"""The most optional properties and unions of all schemas of one request (messages of the API, public reports)."""

# From a third-party copy of the page on structured outputs: lookaround, references back, word boundaries.
_UNSUPPORTED_PATTERN = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?P=|\\k<|\\[bB]")

_KEPT = ("type", "required", "title", "default")
IGNORED = ("$schema", "$id", "$comment", "$anchor", "$vocabulary", "deprecated", "readOnly", "writeOnly",
            "nullable", "discriminator", "xml", "externalDocs", *DEFINITIONS)  # fmt: skip
"""The keywords that say nothing about an answer; they are not sent."""

ALTERNATIVES = ("anyOf", "oneOf")
"""The keywords of alternatives; both are sent as anyOf."""


def is_supported(keyword: str, value: Any, kinds: Sequence[Any]) -> bool:
    """Return whether structured outputs take a keyword with this value."""
    if keyword in _KEPT or (keyword == "description" and isinstance(value, str)):
        return True
    if keyword == "enum":
        return all(map(_is_scalar, value))
    if keyword == "const":
        return _is_scalar(value)
    if keyword == "minItems":
        return value in (0, 1)
    if keyword == "format":
        return value in FORMATS and "string" in kinds
    return keyword == "pattern" and not _UNSUPPORTED_PATTERN.search(str(value))


def list_types(schema: Mapping[str, Any]) -> list[Any]:
    """Return the types of a part; without `type`, the one that its other keywords mean."""
    kinds = schema.get("type", [])
    if not kinds and "properties" in schema:
        return ["object"]
    if not kinds and schema.keys() & {"items", "prefixItems"}:
        return ["array"]
    return list(kinds) if isinstance(kinds, list) else [kinds]


def is_tool_input(schema: Any) -> bool:
    """Return whether a schema can be that of a tool's input: an object, without alternatives at its root.

    The API answers "input_schema does not support oneOf, allOf, or anyOf at the top level" (public reports).
    """
    is_object = isinstance(schema, dict) and schema.get("type") == "object"
    return is_object and not schema.keys() & {"$ref", "allOf", *ALTERNATIVES}


def count_optional(schema: Any) -> int:
    """Count the properties that a schema does not require, in all of its parts."""
    if not isinstance(schema, dict):
        return 0
    properties, required = schema.get("properties"), schema.get("required")
    names = set(properties) if isinstance(properties, dict) else set()
    own = len(names - set(required if isinstance(required, list) else ()))
    return own + sum(count_optional(part) for _, part in list_parts(schema))


def count_unions(schema: Any) -> int:
    """Count the parts of a schema that allow several types."""
    if not isinstance(schema, dict):
        return 0
    is_union = isinstance(schema.get("type"), list) or bool(schema.keys() & set(ALTERNATIVES))
    return int(is_union) + sum(count_unions(part) for _, part in list_parts(schema))


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, dict | list)
