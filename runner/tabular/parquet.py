"""Read the rows of Parquet files and of Arrow tables."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from runner.tabular.column_types import OUTSIDE_YEARS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


_ROWS = 512


_DATE_REMEDY = "correct it, or read only other columns, with `columns` in the source"


INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64")


class InvalidParquet(ValueError):
    """An error: a file or table is not Parquet or Arrow, or contains values that cannot be read.

    `row` counts from 1 in the chunk of rows that was read last; 0 means unknown.
    """

    def __init__(self, message: str, *, row: int = 0) -> None:
        super().__init__(message)
        self.row = row


def read_parquet_file(
    file: BinaryIO, wanted: Sequence[str] = (), *, binary: str = "auto"
) -> tuple[list[tuple[str, dict[str, Any]]], Iterator[list[tuple[Any, ...]]]]:
    """Return the columns of a Parquet file as (name, JSON schema), and an iterator of chunks of its rows.

    Only the columns in `wanted` are read, if there is one; else all. Rows are tuples of Python values. `binary`
    tells what bytes are: text, base64, or text if the file declares no type and the first ones are UTF-8.
    Raises InvalidParquet, as does the iterator.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Buffering ahead would hold a whole row group in memory. INT96 reaches beyond what nanoseconds can hold.
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 18, coerce_int96_timestamp_unit="us")
        taken = [field for field in parquet.schema_arrow if field.name in wanted] or list(parquet.schema_arrow)
        names = [field.name for field in taken]
        texts = _find_texts(parquet, names) if binary == "auto" else names if binary == "text" else []
        columns = [(field.name, _json_schema(_type_as_read(field, texts))) for field in taken]
    except (pa.ArrowException, ValueError) as error:
        raise InvalidParquet(str(error)) from error

    def batches() -> Iterator[list[tuple[Any, ...]]]:
        try:
            # A dot in a name would stand for a part of a column.
            chosen = None if any("." in name for name in names) else names
            for batch in parquet.iter_batches(batch_size=_ROWS, columns=chosen):
                yield read_batch(batch, names, texts)
        except InvalidParquet:
            raise
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise InvalidParquet(str(error)) from error

    return columns, batches()


def _is_binary(kind: "pa.DataType") -> bool:
    from pyarrow import types as t

    return bool(t.is_binary(kind) or t.is_large_binary(kind))


def _map_type(kind: "pa.DataType", change: "Callable[[pa.DataType], pa.DataType]") -> "pa.DataType":
    """Return a type with each innermost type changed, as in the fields of the structs of a list."""
    import pyarrow as pa
    from pyarrow import types as t

    if t.is_struct(kind):
        return pa.struct([part.with_type(_map_type(part.type, change)) for part in kind])
    if t.is_map(kind):
        return pa.map_(_map_type(kind.key_type, change), _map_type(kind.item_type, change))
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        make = pa.large_list if t.is_large_list(kind) else pa.list_
        return make(kind.value_field.with_type(_map_type(kind.value_type, change)))
    return change(kind.value_type if t.is_dictionary(kind) else kind)


def _as_text(kind: "pa.DataType") -> "pa.DataType":
    import pyarrow as pa

    return _map_type(kind, lambda part: pa.string() if _is_binary(part) else part)


def _in_microseconds(kind: "pa.DataType") -> "pa.DataType":
    """Return a type with its times in microseconds, the resolution of Python and of specs."""
    import pyarrow as pa
    from pyarrow import types as t

    def change(part: "pa.DataType") -> "pa.DataType":
        if t.is_timestamp(part) and part.unit == "ns":
            return pa.timestamp("us", tz=part.tz)
        return pa.time64("us") if part == pa.time64("ns") else part

    return _map_type(kind, change)


def _type_as_read(field: "pa.Field", texts: Sequence[str]) -> "pa.DataType":
    return _as_text(field.type) if field.name in texts else field.type


def _find_texts(parquet: "pq.ParquetFile", names: Sequence[str]) -> list[str]:
    """Return the columns of bytes that some writers use for text: without a declared type, and UTF-8 at first."""
    # A file that Arrow wrote declares the types of its columns.
    if b"ARROW:schema" in (parquet.metadata.metadata or {}):
        return []
    kinds = {name: parquet.schema_arrow.field(name).type for name in names if "." not in name}
    found = [name for name, kind in kinds.items() if _as_text(kind) != kind]
    first = next(parquet.iter_batches(batch_size=_ROWS, columns=found), None) if found else None
    return [] if first is None else [name for name in found if _is_utf8(first.column(name))]


def _is_utf8(column: "pa.Array") -> bool:
    """Return whether all bytes in a column, or in its lists and structs, are UTF-8 without a NUL."""
    import pyarrow as pa

    if isinstance(column, pa.MapArray):
        return _is_utf8(column.keys) and _is_utf8(column.items)
    if pa.types.is_nested(column.type):
        parts = column.flatten()
        return all(map(_is_utf8, parts if isinstance(parts, list) else [parts]))
    if not _is_binary(column.type):
        return True
    try:
        return not any(b"\0" in value or value.decode() is None for value in column.drop_null().to_pylist())
    except UnicodeDecodeError:
        return False


def read_batch(batch: "pa.RecordBatch", names: Sequence[str], texts: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a batch: the values of the columns `names`, as text if they are in `texts`.

    Raises InvalidParquet, which names the column of a date that Python cannot hold, and ValueError.
    """
    values = []
    for name in names:
        column = batch.column(name)
        try:
            values.append(_read_column(column, is_text=name in texts))
        except OverflowError as error:
            row, date = _find_unreadable(column)
            raise InvalidParquet(f"column {name!r}: {date} is {OUTSIDE_YEARS}; {_DATE_REMEDY}", row=row) from error
    return list(zip(*values, strict=True))


def _find_unreadable(column: "pa.Array") -> tuple[int, str]:
    """Return the number of the first row that Python cannot hold, and its value as Arrow writes it."""
    import pyarrow as pa

    for row, value in enumerate(column, 1):
        try:
            value.as_py()
        except OverflowError:
            try:
                return row, f"the date {value.cast(pa.string())}"
            except pa.ArrowException:
                return row, "a date in it"
    return 0, "a date"


def _read_column(column: "pa.Array", *, is_text: bool = False) -> list[Any]:
    """Return the values of a column, as text if they are bytes of a text. Raises ValueError and OverflowError."""
    import pyarrow as pa

    if is_text and column.type != (text := _as_text(column.type)):
        try:
            column = column.cast(text)
        except pa.ArrowInvalid as error:
            message = "some bytes are no UTF-8 text, unlike the first ones: set `binary: base64`"
            raise ValueError(message) from error
    if column.type != (kind := _in_microseconds(column.type)):
        column = column.cast(kind, safe=False)
    return cast(list[Any], column.to_pylist(maps_as_pydicts="strict"))


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
        return {"type": "integer", **({"format": str(kind)} if str(kind) in INTEGERS else {})}
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
