"""Read and write rows as Parquet: the only module that uses pyarrow."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from runner.tabular.column_types import column_kind, decimal_precision

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


_ROWS, _GROUP_BYTES = 512, 32 << 20


_DECIMAL128_DIGITS = 38


_INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64")


class InvalidParquet(ValueError):
    """An error: a file is not Parquet, or contains values that cannot be read."""


def read_parquet_file(file: BinaryIO) -> tuple[list[tuple[str, dict[str, Any]]], Iterator[list[tuple[Any, ...]]]]:
    """Return the columns of a Parquet file as (name, JSON schema), and an iterator of chunks of its rows.

    Rows are tuples of Python values. Raises InvalidParquet, as does the iterator.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Buffering ahead would hold a whole row group in memory.
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 18)
        columns = [(field.name, _json_schema(field.type)) for field in parquet.schema_arrow]
    except (pa.ArrowException, ValueError) as error:
        raise InvalidParquet(str(error)) from error

    def batches() -> Iterator[list[tuple[Any, ...]]]:
        try:
            for batch in parquet.iter_batches(batch_size=_ROWS):
                yield list(zip(*(_to_microseconds(column).to_pylist() for column in batch.columns), strict=True))
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise InvalidParquet(str(error)) from error

    return columns, batches()


def _to_microseconds(column: "pa.Array") -> "pa.Array":
    """Return a column with its times in microseconds, the resolution of Python and of specs."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", tz=kind.tz), safe=False)
    return column.cast(pa.time64("us"), safe=False) if kind == pa.time64("ns") else column


def _json_schema(kind: "pa.DataType") -> dict[str, Any]:
    """Return the JSON schema of an Arrow type."""
    from pyarrow import types as t

    if t.is_dictionary(kind):
        return _json_schema(kind.value_type)
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        return {"type": "array", "items": _json_schema(kind.value_type)}
    if t.is_struct(kind):
        parts = {kind.field(index).name: _json_schema(kind.field(index).type) for index in range(kind.num_fields)}
        return {"type": "object", "properties": parts, "additionalProperties": False}
    if t.is_decimal(kind):
        return {"type": "string", "format": f"decimal({kind.precision},{kind.scale})"}
    if t.is_integer(kind):
        return {"type": "integer", **({"format": str(kind)} if str(kind) in _INTEGERS else {})}
    if t.is_floating(kind):
        return {"type": "number", **({} if t.is_float64(kind) else {"format": "float"})}
    texts = {
        "date": t.is_date(kind),
        "date-time": t.is_timestamp(kind) and kind.tz is not None,
        "time": t.is_time(kind),
        "byte": t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind),
    }
    if t.is_boolean(kind):
        return {"type": "boolean"}
    if t.is_timestamp(kind) and kind.tz is None:
        return {"type": "string", "format": "local-date-time"}
    if t.is_string(kind) or t.is_large_string(kind) or any(texts.values()):
        return {
            "type": "string",
            **({"format": name} if (name := next((n for n in texts if texts[n]), "")) else {}),
        }
    return {}


def _arrow_type(schema: Mapping[str, Any]) -> "pa.DataType":
    """Return the Arrow type of a column with this JSON schema."""
    import pyarrow as pa

    kind = column_kind(schema)
    if kind == "array":
        return pa.list_(_arrow_type(schema["items"]))
    if kind == "object":
        return pa.struct([pa.field(name, _arrow_type(part)) for name, part in schema["properties"].items()])
    if kind == "decimal":
        precision, scale = decimal_precision(schema) or (38, 0)
        return (pa.decimal128 if precision <= _DECIMAL128_DIGITS else pa.decimal256)(precision, scale)
    if kind == "integer":
        wanted = schema.get("format")
        return pa.type_for_alias(wanted) if wanted in _INTEGERS else pa.int64()
    if kind == "number":
        return pa.float32() if schema.get("format") == "float" else pa.float64()
    plain: dict[str, pa.DataType] = {
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "local": pa.timestamp("us"),
        "time": pa.time64("us"),
        "binary": pa.binary(),
    }
    return plain.get(kind, pa.string())


@dataclass(slots=True)
class _RowGroup:
    """The rows of a Parquet file that are not written yet: converted to record batches, and not yet converted."""

    schema: "pa.Schema"
    writer: "pq.ParquetWriter"
    batches: list["pa.RecordBatch"] = field(default_factory=list)
    rows: list[Sequence[Any]] = field(default_factory=list)

    def add(self, values: Sequence[Any]) -> None:
        """Add a row, and write the row group if it is full. Raises ValueError."""
        self.rows.append(values)
        if len(self.rows) == _ROWS:
            self._convert_rows()
            if sum(one.nbytes for one in self.batches) >= _GROUP_BYTES:
                self._write_batches()

    def flush(self) -> None:
        """Write all rows that were added. Raises ValueError."""
        if self.rows:
            self._convert_rows()
        if self.batches:
            self._write_batches()

    def _convert_rows(self) -> None:
        import pyarrow as pa

        columns = zip(zip(*self.rows, strict=True), self.schema, strict=True)
        try:
            arrays = [pa.array(list(values), type=one.type) for values, one in columns]
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise ValueError(str(error)) from error
        self.batches.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self.rows.clear()

    def _write_batches(self) -> None:
        import pyarrow as pa

        self.writer.write_table(pa.Table.from_batches(self.batches, schema=self.schema))
        self.batches.clear()


@contextmanager
def open_parquet_writer(
    file: BinaryIO, columns: Mapping[str, Mapping[str, Any]], compression: str
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that takes the converted values of one row; write the rows as Parquet.

    `columns` maps names to JSON schemas. A row group has about 32 MB. Raises ValueError for a value that does not
    fit its type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(name, _arrow_type(one)) for name, one in columns.items()])
    with pq.ParquetWriter(file, schema, compression=compression) as writer:
        rows = _RowGroup(schema, writer)
        yield rows.add
        rows.flush()
