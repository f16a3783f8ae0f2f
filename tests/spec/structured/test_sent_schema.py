"""A schema is sent in the form that structured outputs take, and loses no constraint in silence."""

import json
from typing import Any

import jsonschema_rs
import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st

from runner.spec.structured.sent_schema import make_sent_schema


def a(part: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": ["a"], "properties": {"a": part}, **more}


def sent_part(part: Any, **more: Any) -> Any:
    return make_sent_schema(a(part, **more)).schema["properties"]["a"]


def noted(text: Any, **notes: Any) -> str:
    return f"{text}\n\n{json.dumps(notes)}" if text else json.dumps(notes)


DEFINITIONS = {"$defs": {"P": {"type": "object", "properties": {"x": {"type": "string"}}}}}
CLOSED = {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "integer", "minimum": 1, "maximum": 5, "description": "Stars"},
            {"type": "integer", "description": noted("Stars", minimum=1, maximum=5)},
        ),
        ({"type": "string", "pattern": "^[A-Z]+$"}, {"type": "string", "pattern": "^[A-Z]+$"}),
        ({"type": "string", "pattern": "^(?=a)"}, {"type": "string", "description": noted("", pattern="^(?=a)")}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "format": "week"}, {"type": "string", "description": noted("", format="week")}),
        ({"type": "integer", "format": "int64"}, {"type": "integer", "description": noted("", format="int64")}),
        ({"type": "array", "items": True, "minItems": 1}, {"type": "array", "minItems": 1}),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 2},
            {"type": "array", "items": {"type": "string"}, "description": noted("", minItems=2)},
        ),
        (
            {"type": "array", "prefixItems": [{"type": "string"}, {"type": "null"}], "items": False},
            {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "description": noted("", prefixItems=[{"type": "string"}, {"type": "null"}], items=False),
            },
        ),
        ({"type": "string", "const": "a", "deprecated": True}, {"type": "string", "const": "a"}),
        (
            {"type": "object", "properties": {}, "additionalProperties": False, "const": {"b": 1}},
            {
                "type": "object",
                "properties": {},
                "additionalProperties": False,
                "description": noted("", const={"b": 1}),
            },
        ),
        (
            {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        (
            {"type": ["object", "null"], "properties": {"x": {"type": "string"}}},
            {**CLOSED, "type": ["object", "null"]},
        ),
        ({"properties": {"x": {"type": "string"}}}, CLOSED),
        ({"$ref": "#/$defs/P"}, {"$ref": "#/$defs/P"}),
        ({"$ref": "#/$defs/P", "description": "Own"}, {**CLOSED, "description": "Own"}),
        ({"allOf": [{"$ref": "#/$defs/P"}], "default": None}, {**CLOSED, "default": None}),
        (
            {"allOf": [{"type": "number", "minimum": 1}, {"type": "integer", "minimum": 3}]},
            {"type": "integer", "description": noted("", minimum=3)},
        ),
        (
            {"type": "string", "pattern": "^a", "allOf": [{"pattern": "b$"}]},
            {"type": "string", "pattern": "^a", "description": noted("", allOf=[{"pattern": "b$"}])},
        ),
        (
            {**CLOSED, "anyOf": [{"required": ["x"]}, {"maxProperties": 0}]},
            {**CLOSED, "description": noted("", anyOf=[{"required": ["x"]}, {"maxProperties": 0}])},
        ),
        (
            {
                "required": ["x"],
                "oneOf": [{"properties": {"x": {"const": 1}}}, {"properties": {"x": {"const": 2}}}],
            },
            {
                "anyOf": [
                    {**CLOSED, "required": ["x"], "properties": {"x": {"const": 1}}},
                    {**CLOSED, "required": ["x"], "properties": {"x": {"const": 2}}},
                ]
            },
        ),
    ],
)
def test_a_part_is_sent_as_the_api_takes_it(part: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = make_sent_schema(a(part, **DEFINITIONS))
    assert (sent.schema["properties"]["a"], sent.obstacles) == (expected, ())


@pytest.mark.parametrize(
    ("schema", "obstacle"),
    [
        (a({"$ref": "#/$defs/N"}, **{"$defs": {"N": a({"$ref": "#/$defs/N"})}}), "refers to itself at #/$defs/N"),
        (a({"type": "array", "items": {"$ref": "#"}}), "a part that refers to itself at #/properties/a/items"),
        (a({"$ref": "#n"}, **{"$defs": {"N": a({"$ref": "#n"}, **{"$anchor": "n"})}}), "refers to itself"),
        (
            {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(25)}},
            "25 optional properties",
        ),
        (
            a({"type": "object", "properties": {}, "required": ["b"], "additionalProperties": False}),
            "required pro",
        ),
        (a({"anyOf": [{"type": ["string", "null"]}] * 17}), "18 unions, where 16 are the most"),
        (a({}), "a part without a type at #/properties/a"),
        (a(part=True), "a part that allows anything at #/properties/a"),
        (
            a({"type": "object", "additionalProperties": {"type": "string"}}),
            "an object with properties of any name",
        ),
        (a({"type": "object"}), "an object without `properties` at #/properties/a"),
        (a({"type": "object", "patternProperties": {"^x": {}}}), "an object with properties of any name"),
        (a({"$ref": "other.json"}), "the reference 'other.json', which leads outside the schema"),
        (a({"$ref": "#/$defs/X"}), "the reference '#/$defs/X', which leads nowhere"),
        (a({"allOf": [{"type": "string"}, {"type": "integer"}]}), "an allOf whose parts contradict each other"),
    ],
)
def test_what_cannot_be_enforced_is_named(schema: dict[str, Any], obstacle: str) -> None:
    assert obstacle in str(make_sent_schema(schema).obstacles[0])


def test_only_used_definitions_are_sent() -> None:
    unused = {"$defs": {**DEFINITIONS["$defs"], "Unused": a({"$ref": "#/$defs/Unused"})}}
    sent = make_sent_schema(a({"$ref": "#/$defs/P"}, **unused))
    assert (list(sent.schema["$defs"]), sent.obstacles) == (["P"], ())


@pytest.mark.parametrize(
    "definitions", [DEFINITIONS["$defs"], {"P": {"$ref": "#/$defs/Q"}, "Q": DEFINITIONS["$defs"]["P"]}]
)
def test_a_reference_at_the_root_is_unfolded(definitions: dict[str, Any]) -> None:
    assert make_sent_schema({"$ref": "#/$defs/P", "$defs": definitions}).schema == CLOSED


def test_optional_properties_of_the_root_count_once() -> None:
    part = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(20)}}
    assert make_sent_schema({"$ref": "#/$defs/P", "$defs": {"P": part}}).obstacles == ()


def test_definitions_are_sent_where_they_are_written() -> None:
    definitions = {"$defs": {"P": CLOSED, "Q": {"type": "string"}}}
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    written = {**dialect, **definitions, **a({"$ref": "#/$defs/Q"}), "title": "T"}
    written["properties"]["b"] = {"$ref": "#/$defs/P"}
    assert json.dumps(make_sent_schema(written).schema) == json.dumps(written)


def test_definitions_that_double_end_in_an_obstacle() -> None:
    part = {f"D{n}": a({"$ref": f"#/$defs/D{n + 1}", "description": "x"}, b=1) for n in range(40)}
    for n in range(40):
        part[f"D{n}"]["properties"]["b"] = {"$ref": f"#/$defs/D{n + 1}", "description": "y"}
    part["D40"] = {"type": "string"}
    sent = make_sent_schema(a({"$ref": "#/$defs/D0", "description": "z"}, **{"$defs": part}))
    assert "more than 5,000 parts" in [str(one) for one in sent.obstacles]


_NAMES = st.sampled_from(["x", "y", "z"])
_SCALARS = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])},
    optional={"minimum": st.integers(-3, 3), "maximum": st.integers(4, 9), "minLength": st.integers(0, 2),
              "format": st.sampled_from(["date", "week"]), "not": st.just({"const": 2})},
)  # fmt: skip


def _objects(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.dictionaries(_NAMES, parts, min_size=1, max_size=3)
    objects = names.map(lambda found: {"type": "object", "properties": found, "required": sorted(found)[:1]})
    lists = parts.map(lambda part: {"type": "array", "items": part, "minItems": 1})
    pairs = st.lists(parts, min_size=1, max_size=2)
    either = st.tuples(st.sampled_from(["anyOf", "oneOf", "allOf"]), pairs).map(lambda one: {one[0]: one[1]})
    both = st.tuples(objects, either).map(lambda one: {**one[0], **one[1]})
    tuples = pairs.map(lambda found: {"type": "array", "prefixItems": found, "maxItems": len(found)})
    return st.one_of(objects, lists, either, both, tuples)


_SCHEMAS = st.recursive(_SCALARS, _objects, max_leaves=6)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-4, 9), st.sampled_from(["", "a", "2026-01-31"])),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(_NAMES, part, max_size=3)),
    max_leaves=6,
)


def _open(schema: Any) -> Any:
    """The schema without what closes its objects."""
    if isinstance(schema, dict):
        return {
            name: _open(part) for name, part in schema.items() if (name, part) != ("additionalProperties", False)
        }
    return [_open(part) for part in schema] if isinstance(schema, list) else schema


@given(schema=_SCHEMAS, values=st.lists(_VALUES, min_size=5, max_size=5))
def test_an_answer_that_is_valid_can_be_given(schema: Any, values: list[Any]) -> None:
    sent = make_sent_schema(schema)
    if sent.obstacles:
        return
    written, loose = (
        jsonschema_rs.validator_for(one, validate_formats=True) for one in (schema, _open(sent.schema))
    )
    assert all(loose.is_valid(value) for value in values if written.is_valid(value))


def test_what_is_sent_is_what_the_sdk_would_keep() -> None:
    schema = a({"type": "array", "items": {"type": "integer", "minimum": 2, "title": "N"}, "minItems": 1})
    ours, theirs = make_sent_schema(schema).schema, transform_schema(schema)
    items = ours["properties"]["a"]["items"], theirs["properties"]["a"]["items"]
    assert [one.pop("description") for one in items] == ['{"minimum": 2}', "{minimum: 2}"]
    assert ours == theirs
