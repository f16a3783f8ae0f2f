"""Parquet source: dates, decimals and binary become text; other values keep their type."""

from collections.abc import Iterator
from typing import Any

from runner.io_types.annotations import SeekablePath
from runner.sources.formats.text import raise_input_error
from runner.sources.input_files import Inputs
from runner.sources.json_values import check_column_names, row_to_json
from runner.tabular.parquet import InvalidParquet, read_parquet_file


def read_parquet(inputs: Inputs, *, path: SeekablePath) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read Parquet files, which must have the same columns.

    `line` is the number of the row in its file.
    """
    first: list[tuple[str, dict[str, Any]]] = []
    for name, file in inputs.open_seekable(path):
        number = 0
        try:
            columns, batches = read_parquet_file(file)
            names = check_column_names([column for column, _ in columns], "the file")
            first = first or columns
            if columns != first:
                shown = ", ".join(column for column, _ in first)
                raise_input_error(
                    name, f"the columns are {', '.join(names)}, but earlier files have {shown}, or other types"
                )
            inputs.types = {**dict(columns), **inputs.types}
            for batch in batches:
                for values in batch:
                    number += 1
                    yield name, number, row_to_json(names, values)
        except InvalidParquet as error:
            raise_input_error(name, f"cannot be read as Parquet: {error}", number and number + 1)
        except ValueError as error:
            raise_input_error(name, str(error), number)
