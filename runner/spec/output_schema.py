"""The output schema of a spec: inline, in a JSON file or of a Python type; it is checked before it is used.

So are the schemas that `params` define.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, NoReturn

from runner.errors import InputError, Problem
from runner.files.nearest import find_nearest_file, suggest_file
from runner.files.regular import read_regular_file
from runner.spec.model_schema import is_model_reference, load_model_schema
from runner.spec.schema_errors import find_schema_mistake
from runner.spec.structured.enforcement import find_schema_in_params
from runner.spec.structured.references import resolve_reference
from runner.spec.yaml.document import Document, Path, parse_yaml

_MAX_MISTAKES = 20
_TYPES = ("string", "object", "array", "integer", "number", "boolean", "null")


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"duplicate key {name!r} in one object")
    return dict(pairs)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_schema(path: str, root: FilePath) -> Any:
    """Return the content of a JSON file. Raises InputError, for invalid JSON with the line."""
    try:
        text = read_regular_file(root / path).decode()
        schema = json.loads(text, object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant)
        json.dumps(schema, ensure_ascii=False).encode()
    except OSError as error:
        raise InputError([Problem(path, f"cannot read: {error.strerror}")]) from error
    except json.JSONDecodeError as error:
        raise InputError([Problem(path, f"not JSON: {error.msg}", error.lineno, error.colno)]) from error
    except (ValueError, RecursionError) as error:
        raise InputError([Problem(path, f"not usable as JSON: {error}")]) from error
    return schema


def _read_nearest(schema: str, root: FilePath, here: Problem) -> tuple[str, Any, list[Problem]]:
    """Return the path and content of a schema file, or of the one with the nearest name, and its problems."""
    try:
        return schema, _read_schema(schema, root), []
    except InputError as error:
        if not isinstance(error.__cause__, OSError):
            return schema, None, [error.problems[0]]
        remedy = suggest_file(root, schema) if isinstance(error.__cause__, FileNotFoundError) else ""
        message = f"output.schema: {error}{remedy and f': {remedy}'}"
        problem = replace(here, message=message, remedy=remedy)
    near = find_nearest_file(root, schema) if remedy else None
    if near is None:
        return schema, None, [problem]
    path, read, others = _read_nearest(near, root, here)
    return path, read, [problem, *others]


def _describe_openapi(schema: Any) -> str | None:
    """Return what is wrong with a whole OpenAPI document as a schema: it accepts any answer. None for others."""
    if not isinstance(schema, dict) or not {"openapi", "swagger"} & schema.keys():
        return None
    if {"$ref", "type", "properties", "allOf", "anyOf", "oneOf"} & schema.keys():
        return None
    part = "components/schemas" if "openapi" in schema else "definitions"
    names = resolve_reference(schema, f"#/{part}")
    name = next(iter(names), "NAME") if isinstance(names, dict) else "NAME"
    return (
        f"a whole OpenAPI document accepts any answer: in a copy of it, keep only `{part.partition('/')[0]}`, and "
        f'add `"$ref": "#/{part}/{name}"`, or the name of another schema, at the top level'
    )


def load_output_schema(
    document: Document, shown: str, root: FilePath
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the output schema of a spec, or None if it has none that can be used, and its mistakes.

    If its file does not exist, the schema is that of the file with the nearest name; invalid parts are left out.
    """
    if "schema" not in document.value.get("output", {}):
        return None, []
    schema = document.value["output"]["schema"]
    place, problems = Problem(shown, "", *document.positions["output", "schema"]), list[Problem]()
    positions = {".".join(map(str, at)): found for at, found in document.positions.items()}
    if isinstance(schema, str) and is_model_reference(schema):
        try:
            schema, positions = load_model_schema(schema, root), {}
        except ValueError as error:
            return None, [replace(place, message=f"output.schema: {error}")]
    elif isinstance(schema, str):
        path, schema, problems = _read_nearest(schema, root, place)
        if schema is None and problems:
            return None, problems
        place, positions = Problem(path, "", 1, 1), find_schema_positions(path, root)
    named = "output.schema: " if place.path == shown else ""
    if (message := _describe_openapi(schema)) is not None:
        problems.append(replace(place, message=f"{named}{message}"))
    sound, mistakes = _remove_mistakes(schema)
    for message, at in mistakes:
        line, column = positions.get(".".join(("output.schema", *map(str, at))), (place.line, place.column))
        problems.append(replace(place, message=f"{named}{message}", line=line, column=column))
    return sound, problems


def find_params_mistakes(document: Document, shown: str) -> Iterator[tuple[Path, Problem]]:
    """Yield the mistakes in the schemas of `params` that are enforced or checked, with their paths."""
    value = document.value
    params, tool = value["params"], value.get("output", {}).get("tool")
    tools = params.get("tools")
    schemas: list[tuple[Path, Any]] = [
        (("params", "tools", at, "input_schema"), one.get("input_schema"))
        for at, one in enumerate(tools if isinstance(tools, list) else ())
        if isinstance(one, dict) and (one.get("strict") is True or one.get("name") == tool)
    ]
    schemas.append((("params", "output_config", "format", "schema"), find_schema_in_params(params, None, None)))
    for at, schema in schemas:
        if isinstance(schema, dict) and (mistake := find_schema_mistake(schema)) is not None:
            message = f"{'.'.join(map(str, at))}: {mistake[0]}"
            place = document.positions.get((*at, *mistake[1]), document.positions[at])
            yield at, Problem(shown, message, *place)


def _remove_mistakes(schema: Any) -> tuple[dict[str, Any] | None, list[tuple[str, Path]]]:
    """Return a schema without its invalid parts, or None if nothing is left, and each mistake with its path."""
    sound, mistakes = deepcopy(schema), list[tuple[str, Path]]()
    while (mistake := find_schema_mistake(sound)) is not None:
        mistakes.append(mistake)
        path = mistake[1]
        if not path or len(mistakes) == _MAX_MISTAKES:
            return None, mistakes
        part = sound
        for step in path[:-1]:
            part = part[step]
        wrong = part.pop(path[-1])
        if path[-1] == "type" and (near := get_close_matches(str(wrong), _TYPES, n=1)):
            part["type"] = near[0]
    return sound, mistakes


def find_schema_positions(schema: Any, root: FilePath) -> dict[str, tuple[int, int]]:
    """Return the places in the file of an output schema by their dotted paths in the spec; none without a file."""
    if not isinstance(schema, str):
        return {}
    try:
        # JSON is nearly always YAML too.
        positions = parse_yaml(read_regular_file(root / schema), path=schema, environ={}).positions
    except (OSError, InputError):
        return {}
    return {".".join(("output.schema", *map(str, at))): place for at, place in positions.items()}
