"""Parquet sink with a type for each column."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from runner.sinks.destination import Destination
from runner.sinks.parts import RowsPerPart, open_parts
from runner.tabular.parquet_writer import open_parquet_writer


def write_parquet(
    destination: Destination,
    columns: Mapping[str, Any],
    *,
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd",
    parts: bool = False,
    rows_per_part: RowsPerPart = 1_000_000,
) -> AbstractContextManager[Callable[[Sequence[Any]], None]]:
    """Write a Parquet file, with a type for each column.

    Return a context that yields a function that writes one row of values, which must already have the types in
    `columns`.

    Settings:
        path: Output file, relative to the project root, or a URL (`s3://`, `gs://`, `az://`). It is written
            completely or not at all.
        compression: Compression of the pages.
        parts: Write a folder of files `part-00000.parquet`, `part-00001.parquet`… in the order of the rows, and
            `_SUCCESS` last.
    """

    def open_file(place: Destination) -> AbstractContextManager[Callable[[Sequence[Any]], None]]:
        return _write_file(place, columns, compression)

    if not parts:
        return open_file(destination)
    return open_parts(destination, open_file, suffix=".parquet", rows_per_part=rows_per_part)


@contextmanager
def _write_file(
    destination: Destination, columns: Mapping[str, Any], compression: str
) -> Iterator[Callable[[Sequence[Any]], None]]:
    with destination.open_file() as file, open_parquet_writer(file, columns, compression) as write:
        yield write
