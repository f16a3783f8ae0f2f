"""The quick verdict about a value or a schema agrees with that of jsonschema, which describes errors."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import InputError
from runner.spec.json_schema import find_errors, find_fault
from runner.spec.yaml.document import parse_yaml
from tests.support import DATA, ROOT, SHIPPED
from tests.support.fuzzing import tries
from tests.support.projects import SPEC_SCHEMA

FILES = [*SHIPPED, *sorted((DATA / "specs").glob("*.yaml")), *sorted((DATA / "rules").glob("*.yaml"))]
VALUES = [
    None, True, False, 0, 1, -1, 1.0, 0.5, 1e4, 10**30, float("inf"), "", "a", "A b", "off", "5m", "5m\n", "é",
    "\u2028", "\ud800", [], ["a"], ["a", "a"], {}, {"a": 1}, "csv", "string", "object", "decimal(3,1)", "[",
    r"\p{L}",
]  # fmt: skip


def read_values() -> Iterator[Any]:
    for path in FILES:
        try:
            yield parse_yaml(path.read_bytes(), path=path.name, environ={}).value
        except InputError:
            continue


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each part of a value, as the container and the key or index."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def changed(value: Any, seed: int) -> Any:
    """A copy of a value with one to three parts replaced, removed or added."""
    value, chance = copy.deepcopy(value), random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        found = list(places(value))
        if not found:
            break
        within, key = chance.choice(found)
        match chance.randrange(3), within:
            case 0, _:
                within[key] = copy.deepcopy(chance.choice(VALUES))
            case 1, _:
                del within[key]
            case _, dict():
                within[chance.choice([*SPEC_SCHEMA["properties"], "x", "type", "path"])] = chance.choice(VALUES)
            case _, _:
                within.append(copy.deepcopy(within[key]))
    return value


SPECS = list(read_values())
SCHEMAS = [json.loads(path.read_bytes()) for path in ROOT.glob("specs/schemas/*.json")]


@tries(300)
@given(st.sampled_from(SPECS), st.integers(0))
def test_no_error_of_a_spec_is_overlooked(spec: Any, seed: int) -> None:
    value = changed(spec, seed)
    if not jsonschema.Draft202012Validator(SPEC_SCHEMA).is_valid(value):
        assert find_errors(SPEC_SCHEMA, value) != []


@tries(300)
@given(st.sampled_from(SCHEMAS), st.integers(0))
def test_no_fault_of_a_schema_is_overlooked(schema: Any, seed: int) -> None:
    value = changed(schema, seed)
    try:
        jsonschema.Draft202012Validator.check_schema(value)
    except jsonschema.SchemaError as error:
        fault = find_fault(value)
        assert fault is not None and fault.message == error.message
    else:
        assert find_fault(value) is None


@pytest.mark.parametrize(("schema", "value"), [({"type": "integer"}, 1.0), ({"pattern": "^a$"}, "a\n")])
def test_integers_and_patterns_are_strict(schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator(schema).validate(value)
    assert [error.instance for error in find_errors(schema, value)] == [value]
