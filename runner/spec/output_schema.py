"""The output schema of a spec, inline or in a JSON file, checked before anything else uses it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from runner.errors import InputError, Problem
from runner.files.regular import read_regular_file
from runner.spec.schema_errors import find_schema_error
from runner.spec.yaml_document import Document


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


def load_output_schema(document: Document, shown: str, root: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the output schema of a spec, or None, and its mistakes."""
    if "schema" not in document.value.get("output", {}):
        return None, []
    schema = document.value["output"]["schema"]
    place = Problem(shown, "", *document.positions["output", "schema"])
    if isinstance(schema, str):
        if "\0" in schema:
            return None, []
        try:
            place, schema = Problem(schema, ""), _read_schema(schema, root)
        except InputError as error:
            here = Problem(shown, f"output.schema: {error}", *document.positions["output", "schema"])
            return None, [here if isinstance(error.__cause__, OSError) else error.problems[0]]
    mistake = find_schema_error(schema)
    if mistake is None:
        return schema, []
    at = "output.schema: " if place.line else ""
    return None, [replace(place, message=f"{at}{mistake}")]
