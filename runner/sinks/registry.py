"""The sink types, and what distinguishes them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from runner.sinks.formats.csv import write_csv
from runner.sinks.formats.files import write_files
from runner.sinks.formats.jsonl import write_jsonl
from runner.sinks.formats.parquet import write_parquet
from runner.sinks.formats.sql import write_sql
from runner.sinks.formats.xlsx import write_xlsx
from runner.spec.spec import Sink
from runner.templates.expressions import RECORD_FIELDS

SINKS: dict[str, Callable[..., AbstractContextManager[Callable[[Sequence[Any]], None]]]] = {
    "csv": write_csv,
    "files": write_files,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "sql": write_sql,
    "xlsx": write_xlsx,
}
"""Each type by the function that opens it. Its keyword parameters are the settings of the type."""

EXTRAS = {"parquet": "data", "sql": "sql", "xlsx": "xlsx"}
"""The extra packages that a type needs."""

TYPED, FLAT, SELF_COMPRESSED = ("parquet", "sql", "xlsx"), ("sql", "xlsx"), ("parquet", "xlsx")
"""Types whose columns have types, that hold no nested values, and whose files compress themselves."""

DESTINATION_KEYS = ("path", "url")


def column_expressions(sink: Sink) -> dict[str, str]:
    """Return the columns of a sink by name, as expressions; a `files` sink has `name` and `content`."""
    if sink.type == "files":
        return {"name": sink.options["name"], "content": sink.options.get("content", "output")}
    return sink.columns or {name: name for name in RECORD_FIELDS}
