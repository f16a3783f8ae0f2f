"""The output schema of a spec, inline or in a JSON file, checked before anything else uses it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from runner.errors import InputError, Problem
from runner.files.nearest import find_nearest_file, suggest_file
from runner.files.regular import read_regular_file
from runner.spec.schema_errors import find_schema_error
from runner.spec.yaml_document import Document, parse_yaml

_AT = re.compile(r": at ([^: ]+): ")


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"duplicate key {name!r} in one object")
    return dict(pairs)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_schema(path: str, root: Path) -> Any:
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


def _read_nearest(schema: str, root: Path, here: Problem) -> tuple[Any, list[Problem]]:
    """Return the content of a schema file, or of the one with the nearest name, and its problems."""
    try:
        return _read_schema(schema, root), []
    except InputError as error:
        if not isinstance(error.__cause__, OSError):
            return None, [error.problems[0]]
        remedy = suggest_file(root, schema) if isinstance(error.__cause__, FileNotFoundError) else ""
        message = f"output.schema: {error}{remedy and f': {remedy}'}"
        problem = replace(here, message=message, remedy=remedy)
    near = find_nearest_file(root, schema) if remedy else None
    if near is None:
        return None, [problem]
    read, others = _read_nearest(near, root, here)
    return read, [problem, *others]


def load_output_schema(document: Document, shown: str, root: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the output schema of a spec, or None if it has none that can be used, and its mistakes.

    If its file does not exist, the schema is that of the file with the nearest name.
    """
    if "schema" not in document.value.get("output", {}):
        return None, []
    schema = document.value["output"]["schema"]
    place, problems = Problem(shown, "", *document.positions["output", "schema"]), list[Problem]()
    if isinstance(schema, str):
        path = schema
        schema, problems = _read_nearest(path, root, place)
        if schema is None and problems:
            return None, problems
        place = Problem(path, "", 1, 1)
    mistake = find_schema_error(schema)
    if mistake is None:
        return schema, problems
    inner = _AT.search(mistake)
    positions = {".".join(map(str, at)): found for at, found in document.positions.items()}
    positions |= find_schema_positions(document.value, root)
    line, column = positions.get(f"output.schema.{inner[1]}" if inner else "", (place.line, place.column))
    named = "output.schema: " if place.path == shown else ""
    return None, [*problems, replace(place, message=f"{named}{mistake}", line=line, column=column)]


def find_schema_positions(value: dict[str, Any], root: Path) -> dict[str, tuple[int, int]]:
    """Return the places in the file of an output schema by their dotted paths in the spec; none without a file."""
    schema = value.get("output", {}).get("schema")
    if not isinstance(schema, str):
        return {}
    try:
        # JSON is nearly always YAML too.
        positions = parse_yaml(read_regular_file(root / schema), path=schema, environ={}).positions
    except (OSError, InputError):
        return {}
    return {".".join(("output.schema", *map(str, at))): place for at, place in positions.items() if at}
