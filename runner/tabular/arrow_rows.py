"""Rows from and to Arrow tables: of pyarrow, polars, pandas and whatever else exports an Arrow stream."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner.tabular.parquet import read_batch

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 512
_CHUNK_ROWS = 10_000
# The index of a data frame without a name, which is only a row number or a leftover of a selection.
_INDEX = "__index_level_"


def read_arrow_stream(table: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of an object that exports an Arrow stream.

    Raises ValueError if it cannot be exported, or a value cannot be read.
    """
    import pyarrow as pa

    try:
        reader = pa.RecordBatchReader.from_stream(table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(str(error)) from error
    names = [name for name in reader.schema.names if not name.startswith(_INDEX)]
    for batch in reader:
        for start in range(0, batch.num_rows, _ROWS):
            rows = read_batch(batch.slice(start, _ROWS), names)
            yield from (dict(zip(names, values, strict=True)) for values in rows)


def build_arrow_table(rows: Iterable[Mapping[str, Any]]) -> "pa.Table":
    """Return rows of JSON values as a table. A column whose values have no common type holds them as JSON text."""
    import pyarrow as pa

    chunks, left = [], iter(rows)
    while chunk := list(islice(left, _CHUNK_ROWS)):
        names = dict.fromkeys(name for row in chunk for name in row)
        chunks.append({name: _build_array([row.get(name) for row in chunk]) for name in names})
    names = dict.fromkeys(name for chunk in chunks for name in chunk)
    return pa.table({name: _join_arrays([(one.get(name), _length(one)) for one in chunks]) for name in names})


def _length(chunk: Mapping[str, "pa.Array"]) -> int:
    return len(next(iter(chunk.values())))


def _build_array(values: list[Any]) -> "pa.Array":
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return _build_text_array(values)


def _build_text_array(values: list[Any]) -> "pa.Array":
    import msgspec
    import pyarrow as pa

    texts = [one if one is None or isinstance(one, str) else msgspec.json.encode(one).decode() for one in values]
    return pa.array(texts, pa.string())


def _join_arrays(arrays: list[tuple["pa.Array | None", int]]) -> "pa.ChunkedArray":
    """Join the arrays of one column, each with its length; None stands for nulls."""
    import pyarrow as pa

    given = [pa.nulls(length) if array is None else array for array, length in arrays]
    try:
        tables = [pa.table({"column": array}) for array in given]
        return pa.concat_tables(tables, promote_options="permissive").column("column")
    except pa.ArrowException:
        return pa.chunked_array([_build_text_array(array.to_pylist()) for array in given])
