"""Check the sinks of a spec before anything is paid: expressions, types, destinations and tables."""

from collections.abc import Mapping
from typing import Any

from runner.errors import InputError, Problem
from runner.files.compression import is_compressed
from runner.files.extras import missing_package_message
from runner.files.remote import is_url
from runner.sinks.column_schemas import build_column_schemas, build_record_schemas
from runner.sinks.destination import (
    Destination,
    destination_setting,
    prove_writable,
    resolve_destination,
    why_not_writable,
)
from runner.sinks.own_fields import list_own_fields
from runner.sinks.parts import prove_parts, why_not_parts
from runner.sinks.registry import column_expressions, find_sink_type
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Sink, Spec
from runner.tabular.database import DatabaseError
from runner.tabular.tables import find_schema_mismatch
from runner.templates.expressions import ExpressionError, compile_expression


def _setting_path(sink: Sink, index: int, name: str) -> str:
    has_own = find_sink_type(sink.type).expressions is not None
    return f"sinks.{index}.{name}" if has_own else f"sinks.{index}.columns.{name}"


def check_sinks(spec: Spec, row_schema: Mapping[str, Any] | None = None) -> list[Problem]:
    """Return the problems of a spec's sinks that can be found without accessing their places.

    With `row_schema`, the known fields of a row, their columns cannot use others.
    """
    problems, schemas = [], build_record_schemas(spec, row_schema or {})
    for index, sink in enumerate(spec.sinks):
        try:
            columns = column_expressions(sink, own_fields=list_own_fields(spec))
        except InputError as error:
            problems += [spec.problem(f"sinks.{index}.type", one.message) for one in error.problems]
            continue
        path, kind = str(sink.options.get("path", "")), find_sink_type(sink.type)
        extra = kind.extra or ("data" if is_url(path) else "")
        if extra and (missing := missing_package_message(extra)):
            problems.append(spec.problem(f"sinks.{index}.type", missing))
        for name, text in columns.items():
            try:
                compile_expression(text, schemas=schemas)
            except ExpressionError as error:
                message = f"column {name!r}: {error}"
                problems.append(spec.problem(_setting_path(sink, index, name), message, line=error.line))
        for name in sink.types:
            if name not in columns:
                message = f"there is no column {name!r}: {suggest_similar(name, columns)}"
                problems.append(spec.problem(f"sinks.{index}.types.{name}", message))
        if kind.is_self_compressed and is_compressed(path):
            message = f"{path} would be compressed twice ({sink.type} files already are): remove the suffix"
            problems.append(spec.problem(f"sinks.{index}.path", message))
        if "rows_per_part" in sink.options and not sink.has_parts:
            message = "`rows_per_part` has no effect without `parts: true`"
            problems.append(spec.problem(f"sinks.{index}.rows_per_part", message))
        if sink.type == "sql" and (key := sink.options.get("key", "key")) not in columns:
            message = f"there is no column {key!r} to identify the rows of the table: set `key` to a column"
            problems.append(spec.problem(f"sinks.{index}", message))
    return problems


def check_destination(
    spec: Spec, index: int, destination: Destination, types: Mapping[str, Any] | None = None
) -> Problem | None:
    """Return why a sink cannot write to its place, as far as can be told without writing, or None.

    `types` are the schemas of the source's columns. If given, check also that a table accepts such values.
    """
    sink = spec.sinks[index]
    is_folder = find_sink_type(sink.type).is_folder
    at = f"sinks.{index}.{destination_setting(sink)}"
    message = None
    if sink.type != "sql" or destination.path is not None:
        message = (
            why_not_parts(destination) if sink.has_parts else why_not_writable(destination, is_folder=is_folder)
        )
    if message is None and is_folder and destination.path is None:
        message = f"a {sink.type} sink must write to a folder on this machine"
    if message is None and sink.type == "sql" and (destination.path is None or destination.path.exists()):
        message = _find_table_mismatch(spec, sink, destination, types)
    return spec.problem(at, message) if message is not None else None


def prove_destination(spec: Spec, index: int, destination: Destination) -> Problem | None:
    """Return why a sink cannot write to its place, found by writing there, or None. Nothing of it stays.

    Tables are left out, since `check_destination` proves them in a transaction, and so is a sink with
    `check: false`.
    """
    sink = spec.sinks[index]
    if (sink.type == "sql" and destination.path is None) or sink.options.get("check") is False:
        return None
    if sink.has_parts:
        message = prove_parts(destination)
    else:
        message = prove_writable(destination, is_folder=find_sink_type(sink.type).is_folder)
    if message is None:
        return None
    remedy = "" if sink.type == "sql" else "; with `check: false` the sink is not tried out before it is written"
    return spec.problem(f"sinks.{index}.{destination_setting(sink)}", f"{message}{remedy}")


def _find_table_mismatch(
    spec: Spec, sink: Sink, destination: Destination, types: Mapping[str, Any] | None
) -> str | None:
    """Return why a table does not accept the rows of a sink, or None."""
    columns = column_expressions(sink, own_fields=list_own_fields(spec))
    found = build_column_schemas(spec, sink, columns, types or {})
    key = sink.options.get("key", "key")
    try:
        wrong = find_schema_mismatch(
            destination.database_url, sink.options["table"], found, key, is_typed=types is not None
        )
    except DatabaseError as error:
        return f"cannot write: {error}"
    if wrong is None:
        return None
    is_simulated = destination != resolve_destination(sink, root=spec.root, base=spec.root)
    remedy = "delete this file, which only simulated runs have written" if is_simulated else wrong.remedy
    return f"{destination}: {wrong.reason}: {remedy}"
