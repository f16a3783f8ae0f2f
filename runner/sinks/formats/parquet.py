"""Parquet sink with a type for each column."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from runner.sinks.destination import Destination
from runner.tabular.parquet_writer import open_parquet_writer


@contextmanager
def write_parquet(
    destination: Destination,
    columns: Mapping[str, Any],
    *,
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd",
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Write a Parquet file, with a type for each column.

    Yield a function that writes one row of values, which must already have the types in `columns`.

    Settings:
        path: Output file, relative to the project root, or a URL (`s3://`, `gs://`, `az://`). It is written
            completely or not at all.
        compression: Compression of the pages.
    """
    with destination.open_file() as file, open_parquet_writer(file, columns, compression) as write:
        yield write
