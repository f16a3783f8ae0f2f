"""Check the places that a spec writes to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.errors import InputError, Problem
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.sinks.check import check_destination
from runner.sinks.destination import Destination, resolve_destination
from runner.spec.spec import Spec


def find_unwritable(
    spec: Spec, output_root: Path, *, query_databases: bool = True, types: Mapping[str, Any] | None = None
) -> tuple[list[Destination], list[Problem]]:
    """Return the places of a spec's sinks below `output_root`, and those that cannot be written.

    This is known as far as it can be without writing. Databases are only checked with `query_databases`, and their
    columns if `types` are the schemas of the source's columns.
    """
    places = [resolve_destination(sink, root=spec.root, base=output_root) for sink in spec.sinks]
    asked = [index for index, sink in enumerate(spec.sinks) if query_databases or sink.type != "sql"]
    sound = [index for index in asked if spec.is_sound(f"sinks.{index}")]
    return places, [one for index in sound if (one := check_destination(spec, index, places[index], types))]


def check_destinations(spec: Spec, output_root: Path, *, query_databases: bool = True) -> list[Destination]:
    """Return the places of a spec's sinks below `output_root`. Raises InputError if one cannot be written."""
    places, problems = find_unwritable(spec, output_root, query_databases=query_databases)
    if problems:
        raise InputError(problems)
    return places


def check_tables(context: RunContext, destinations: Sequence[Destination]) -> None:
    """Discard a prepared run and raise InputError if a table does not accept its column types."""
    types = read_snapshot(context.store, context.run).types
    tables = [index for index, sink in enumerate(context.spec.sinks) if sink.type == "sql"]
    unfit = [check_destination(context.spec, index, destinations[index], types) for index in tables]
    if problems := [problem for problem in unfit if problem]:
        context.store.delete_run(context.run)
        raise InputError(problems)
