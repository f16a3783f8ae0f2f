"""The types of sources: those built in, and those of other packages."""

from dataclasses import replace

from runner.errors import InputError, Problem
from runner.io_types.plugins import SOURCE_GROUP, load_plugin
from runner.io_types.types import SourceType
from runner.sources.formats.csv import read_csv
from runner.sources.formats.files import read_files
from runner.sources.formats.json import read_json
from runner.sources.formats.jsonl import read_jsonl
from runner.sources.formats.parquet import read_parquet
from runner.sources.formats.rows import read_given_rows
from runner.sources.formats.run import read_run
from runner.sources.formats.sql import read_sql
from runner.sources.formats.text import read_text
from runner.sources.formats.xlsx import read_xlsx
from runner.sources.plugin_rows import guard_rows

SOURCES = {
    "csv": SourceType(read_csv),
    "files": SourceType(read_files),
    "json": SourceType(read_json, is_schemaless=True),
    "jsonl": SourceType(read_jsonl, is_schemaless=True),
    "parquet": SourceType(read_parquet, extra="data"),
    "rows": SourceType(read_given_rows, is_schemaless=True),
    "run": SourceType(read_run),
    "sql": SourceType(read_sql, url_extra="sql"),
    "text": SourceType(read_text),
    "xlsx": SourceType(read_xlsx, extra="xlsx"),
}


def find_source_type(name: str) -> SourceType:
    """Return a built-in type, or one of another package. Raises InputError if there is none."""
    if name in SOURCES:
        return SOURCES[name]
    try:
        found = load_plugin(SOURCE_GROUP, name, SourceType, SOURCES)
    except ValueError as error:
        raise InputError([Problem("source.type", str(error))]) from error
    if found is None:
        raise InputError([Problem("source.type", f"{name!r} is not built in, and no installed package has it")])
    return replace(found, function=guard_rows(name, found.function))
