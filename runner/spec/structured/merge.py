"""Combine the parts of an `allOf`, and a reference with its siblings, into one schema."""

import json
from collections.abc import Mapping
from typing import Any

ANNOTATIONS = ("title", "description", "default", "examples", "example")
"""The keywords that say something and demand nothing."""

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
# The other keywords of a group mean nothing without the first.
_GROUPS = (("if", "then", "else"), ("contains", "minContains", "maxContains"))


def merge_schemas(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that demands what both demand; annotations are those of the first.

    What cannot be said in one schema is left in its `allOf`. A `type` that is an empty list means that no value
    satisfies both.
    """
    merged, rest = dict(first), dict(second)
    groups = [group for group in _GROUPS if group[0] in merged and group[0] in rest]
    left: list[Any] = [{name: rest.pop(name) for name in group if name in rest} for group in groups]
    _merge_properties(merged, rest)
    for keyword, value in rest.items():
        if keyword not in merged:
            merged[keyword] = value
        elif keyword not in ANNOTATIONS and not is_same(merged[keyword], value):
            _merge_keyword(merged, keyword, value, left)
    if left:
        merged["allOf"] = [*merged.get("allOf", ()), *(one for one in left if one)]
    return merged


def is_same(first: Any, second: Any) -> bool:
    """Return whether two values are the same JSON: 1 and true are not."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def _merge_keyword(merged: dict[str, Any], keyword: str, value: Any, left: list[Any]) -> None:
    """Merge two different values of one keyword into `merged`, or put the second into `left`."""
    before = merged[keyword]
    if keyword in _LOWER:
        merged[keyword] = max(before, value)
    elif keyword in _UPPER:
        merged[keyword] = min(before, value)
    elif keyword == "required":
        merged[keyword] = list(dict.fromkeys((*before, *value)))
    elif keyword == "type":
        merged[keyword] = _intersect_types(before, value)
    elif keyword == "enum":
        merged[keyword] = [one for one in before if any(is_same(one, other) for other in value)]
    elif keyword == "items":
        merged[keyword] = {"allOf": [before, value]}
    elif keyword == "allOf":
        merged[keyword] = [*before, *value]
    else:
        left.append({keyword: value})


def _intersect_types(first: Any, second: Any) -> Any:
    one, two = ([kinds] if isinstance(kinds, str) else list(kinds) for kinds in (first, second))
    both = [kind for kind in one if kind in two or (kind == "integer" and "number" in two)]
    both += [kind for kind in two if kind == "integer" and "number" in one and kind not in both]
    return both[0] if len(both) == 1 else both


def _merge_properties(merged: dict[str, Any], rest: dict[str, Any]) -> None:
    """Merge the properties of two objects; if one is closed, only those that it names are left."""
    if "properties" not in merged and "properties" not in rest:
        return
    one, two = dict(merged.get("properties") or {}), dict(rest.pop("properties", None) or {})
    names = list(dict.fromkeys((*one, *two)))
    for known, other in ((one, merged), (two, rest)):
        if other.get("additionalProperties") is False and "patternProperties" not in other:
            names = [name for name in names if name in known]
    merged["properties"] = {
        name: {"allOf": [one[name], two[name]]}
        if name in one and name in two and not is_same(one[name], two[name])
        else one.get(name, two.get(name))
        for name in names
    }
    if False in (merged.get("additionalProperties"), rest.get("additionalProperties")):
        merged["additionalProperties"] = False
        rest.pop("additionalProperties", None)
