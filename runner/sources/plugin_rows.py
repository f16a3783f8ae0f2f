"""Rows of a source of another package: checked, and with its exceptions turned into errors with a remedy."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from runner.errors import InputError, Problem
from runner.io_types.plugin_errors import PluginError, name_plugin_errors
from runner.io_types.plugins import SOURCE_GROUP
from runner.sources.input_files import Inputs
from runner.sources.json_values import row_to_json
from runner.spec.redact import redact_passwords

_MAX_SHOWN = 80

RawRow = tuple[str, int, dict[str, Any]]


def _check_row(row: Any) -> RawRow:
    """Return a row with its values as JSON values. Raises PluginError if it is no row."""
    match row:
        case (str(path), int(line), dict(fields)) if isinstance(row, tuple):
            pass
        case _:
            raise PluginError(f"it must yield (path, line, fields) for each row, not {repr(row)[:_MAX_SHOWN]}")
    for name in fields:
        if not isinstance(name, str):
            raise PluginError(f"{path}:{line}: the name of a field must be text, not {name!r}")
    try:
        return path, line, row_to_json([str.__str__(name) for name in fields], fields.values())
    except ValueError as error:
        raise PluginError(f"{path}:{line}: the field {error}") from error


def _read_rows(name: str, read: Callable[[], Any], inputs: Inputs) -> Iterator[RawRow]:
    place = ""
    try:
        with name_plugin_errors(SOURCE_GROUP, name):
            for row in read():
                path, line, fields = _check_row(row)
                place = f"{path}:{line}"
                yield path, line, fields
    except PluginError as error:
        at = f"after {place}" if place else f"at {inputs.current_path}" if inputs.current_path else ""
        message = f"{f'{at}, ' if at else ''}{error}; correct the input, or update the package"
        raise InputError([Problem("source.type", redact_passwords(message))]) from error


def guard_rows(name: str, function: Callable[..., Any]) -> Callable[..., Iterator[RawRow]]:
    """Return the function of a source of another package, whose exceptions become an InputError."""

    @wraps(function)
    def read(inputs: Inputs, **settings: Any) -> Iterator[RawRow]:
        return _read_rows(name, lambda: function(inputs, **settings), inputs)

    return read
