"""Write rows as a Parquet file whose columns have types."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from runner.io_types.limits import ColumnError
from runner.tabular.column_types import column_kind, decimal_precision
from runner.tabular.parquet import INTEGERS
from runner.text import shorten_value

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


_ROWS, _GROUP_BYTES = 512, 32 << 20


_DECIMAL128_DIGITS = 38


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
        return pa.type_for_alias(wanted) if wanted in INTEGERS else pa.int64()
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
        """Add a row, and write the row group if it is full. Raises ColumnError."""
        self.rows.append(values)
        if len(self.rows) == _ROWS:
            self._convert_rows()
            if sum(one.nbytes for one in self.batches) >= _GROUP_BYTES:
                self._write_batches()

    def flush(self) -> None:
        """Write all rows that were added. Raises ColumnError."""
        if self.rows:
            self._convert_rows()
        if self.batches:
            self._write_batches()

    def _convert_rows(self) -> None:
        import pyarrow as pa

        columns = zip(zip(*self.rows, strict=True), self.schema, strict=True)
        arrays = [_build_array(values, one) for values, one in columns]
        self.batches.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self.rows.clear()

    def _write_batches(self) -> None:
        import pyarrow as pa

        self.writer.write_table(pa.Table.from_batches(self.batches, schema=self.schema))
        self.batches.clear()


def _build_array(values: Sequence[Any], column: "pa.Field") -> "pa.Array":
    """Return the values of a column. Raises ColumnError for the first one that its type cannot hold."""
    import pyarrow as pa

    faults = (pa.ArrowException, OverflowError, TypeError, ValueError)
    try:
        return pa.array(values, type=column.type)
    except faults as error:
        for index, value in enumerate(values):
            try:
                pa.array([value], type=column.type)
            except faults as own:
                reason = "the number has more than 64 bits" if isinstance(own, OverflowError) else own
                message = f"the type {column.type} cannot hold {shorten_value(value)}: {reason}"
                remedy = "set another type in `types`, or change the expression of the column"
                raise ColumnError(column.name, f"{message}; {remedy}", back=len(values) - 1 - index) from own
        raise ColumnError(column.name, str(error)) from error


@contextmanager
def open_parquet_writer(
    file: BinaryIO, columns: Mapping[str, Mapping[str, Any]], compression: str
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that takes the converted values of one row; write the rows as Parquet.

    `columns` maps names to JSON schemas. A row group has about 32 MB. Raises ColumnError for a value that its type
    cannot hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(name, _arrow_type(one)) for name, one in columns.items()])
    with pq.ParquetWriter(file, schema, compression=compression) as writer:
        rows = _RowGroup(schema, writer)
        yield rows.add
        rows.flush()
