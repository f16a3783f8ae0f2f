"""Parquet source: dates, decimals and binary become text; other values keep their type."""

from collections.abc import Iterator
from typing import Any

from runner.arrow import Damaged, read
from runner.sources.inputs import Inputs
from runner.sources.text import fail
from runner.sources.values import check_names, plain_row


def read_parquet(inputs: Inputs, *, path: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield one row per Parquet row. All files must have the same columns.

    `line` is the number of the row in its file.
    """
    first: list[tuple[str, dict[str, Any]]] = []
    for name, file in inputs.whole(path):
        number = 0
        try:
            columns, batches = read(file)
            names = check_names([column for column, _ in columns], "the file")
            first = first or columns
            if columns != first:
                shown = ", ".join(column for column, _ in first)
                fail(name, f"the columns are {', '.join(names)}, but earlier files have {shown}, or other types")
            inputs.types = {**dict(columns), **inputs.types}
            for batch in batches:
                for values in batch:
                    number += 1
                    yield name, number, plain_row(names, values)
        except Damaged as error:
            fail(name, f"cannot be read as Parquet: {error}", number and number + 1)
        except ValueError as error:
            fail(name, str(error), number)
