"""Parquet sink with a type for each column."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from runner.sinks.destination import Destination
from runner.tabular.parquet import open_parquet_writer


@contextmanager
def write_parquet(
    destination: Destination, columns: Mapping[str, Any], *, compression: str = "zstd"
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, which must already have the types in `columns`."""
    with destination.open_file() as file, open_parquet_writer(file, columns, compression) as write:
        yield write
