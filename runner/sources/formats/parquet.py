"""Parquet source: dates, decimals and binary become text; other values keep their type."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import unquote

from runner.io_types.annotations import SeekablePath
from runner.sources.formats.text import raise_input_error
from runner.sources.input_files import Inputs
from runner.sources.json_values import check_column_names, row_to_json
from runner.tabular.parquet import InvalidParquet, read_parquet_file

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""The name of the folder for rows that have no value in its column."""


def read_parquet(
    inputs: Inputs, *, path: SeekablePath, binary: Literal["auto", "text", "base64"] = "auto"
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read Parquet files, which must have the same columns.

    Folders such as `day=2026-01-31` in the path add a column of text, as Hive writes them. `line` is the number of
    the row in its file.

    Settings:
        binary: What bytes become. `auto` takes text if the file declares no type for them and the first ones are
            UTF-8, and otherwise base64.
    """
    first: list[tuple[str, dict[str, Any]]] = []
    for name, file in inputs.open_seekable(path):
        number = 0
        try:
            columns, batches = read_parquet_file(file, inputs.columns, binary=binary)
            names = check_column_names([column for column, _ in columns], "the file")
            folders = {column: value for column, value in _read_folders(name).items() if column not in names}
            columns += [(column, {"type": ["string", "null"]}) for column in folders]
            first = first or columns
            if columns != first:
                shown, before = (", ".join(column for column, _ in one) for one in (columns, first))
                raise_input_error(
                    name, f"the columns are {shown}, but earlier files have {before}, or other types"
                )
            inputs.types = {**dict(columns), **inputs.types}
            for batch in batches:
                for values in batch:
                    number += 1
                    yield name, number, {**row_to_json(names, values), **folders}
        except InvalidParquet as error:
            if error.row:
                raise_input_error(name, str(error), number + error.row)
            raise_input_error(name, f"cannot be read as Parquet: {error}", number and number + 1)
        except ValueError as error:
            raise_input_error(name, str(error), number)


def _read_folders(path: str) -> dict[str, str | None]:
    """Return the columns that the folders of a path name, as in `day=2026-01-31/part.parquet`."""
    pairs = [part.partition("=") for part in PurePath(path).parts[:-1]]
    values = {unquote(name): unquote(value) for name, equals, value in pairs if equals and name}
    return {name: None if value == _NO_VALUE else value for name, value in values.items()}
