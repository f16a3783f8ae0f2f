"""The types of sinks: those built in, and those of other packages."""

from collections.abc import Sequence

from runner.errors import InputError, Problem
from runner.io_types.plugin_errors import PluginError
from runner.io_types.plugins import SINK_GROUP, load_plugin
from runner.io_types.types import SinkType, select_options
from runner.sinks.formats.csv import write_csv
from runner.sinks.formats.files import list_columns, write_files
from runner.sinks.formats.jsonl import write_jsonl
from runner.sinks.formats.parquet import write_parquet
from runner.sinks.formats.sql import find_limits, write_sql
from runner.sinks.formats.xlsx import CellLimit, write_xlsx
from runner.sinks.plugin_writer import guard_sink
from runner.spec.spec import Sink
from runner.templates.expressions import RECORD_FIELDS

SINKS = {
    "csv": SinkType(write_csv, has_reason=True),
    "files": SinkType(write_files, is_folder=True, expressions=list_columns),
    "jsonl": SinkType(write_jsonl),
    "parquet": SinkType(write_parquet, extra="data", is_typed=True, is_self_compressed=True),
    "sql": SinkType(
        write_sql,
        extra="sql",
        is_typed=True,
        is_flat=True,
        destinations=("path", "url"),
        find_limits=find_limits,
    ),
    "xlsx": SinkType(
        write_xlsx,
        extra="xlsx",
        is_typed=True,
        is_flat=True,
        is_self_compressed=True,
        limit=CellLimit(),
        has_reason=True,
    ),
}


def find_sink_type(name: str) -> SinkType:
    """Return a built-in type, or one of another package. Raises InputError if there is none."""
    if name in SINKS:
        return SINKS[name]
    try:
        found = load_plugin(SINK_GROUP, name, SinkType, SINKS)
    except ValueError as error:
        raise InputError([Problem("sinks", str(error))]) from error
    if found is None:
        raise InputError([Problem("sinks", f"the type {name!r} is not built in, and no installed package has it")])
    return guard_sink(name, found)


def column_expressions(sink: Sink, *, own_fields: Sequence[str] = ()) -> dict[str, str]:
    """Return the columns of a sink by name, as expressions; a `files` sink has `name` and `content`.

    Without `columns` they are the fields of a record, with `reason` after the outcome in a type that `has_reason`,
    the `own_fields` of its spec, and `wrong` in a sink of wrong rows. Raises InputError if the type is of
    another package, and its function fails.
    """
    kind = find_sink_type(sink.type)
    expressions = kind.expressions
    if expressions is not None:
        try:
            return expressions(**select_options(expressions, sink.options))
        except PluginError as error:
            raise InputError([Problem("sinks", str(error))]) from error
    wrong = ["wrong"] if sink.rows == "wrong" else []
    return sink.columns or {name: name for name in (*_default_columns(kind), *own_fields, *wrong)}


def _default_columns(kind: SinkType) -> list[str]:
    names = list(RECORD_FIELDS)
    if kind.has_reason:
        names.insert(names.index("outcome") + 1, "reason")
    return names
