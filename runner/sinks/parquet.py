"""Parquet sink with a type for each column."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from runner.arrow import writing
from runner.sinks.place import Place


@contextmanager
def write_parquet(
    place: Place, columns: Mapping[str, Any], *, compression: str = "zstd"
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, which must already have the types in `columns`."""
    with place.file() as file, writing(file, columns, compression) as write:
        yield write
