"""Check the places that a spec writes to."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import InputError, Problem
from runner.sinks.check import check_destination, prove_destination
from runner.sinks.destination import (
    Destination,
    resolve_destination,
    resolve_path,
    resolve_report,
    why_not_writable,
)
from runner.spec.spec import Spec

if TYPE_CHECKING:
    from runner.runs.context import RunContext


def find_unwritable(spec: Spec, places: Sequence[Destination], types: Mapping[str, Any]) -> list[Problem]:
    """Return which places of a spec's sinks cannot be written, found by writing there; nothing of it stays.

    `types` are the schemas of the source's columns.
    """
    sound = [index for index in range(len(spec.sinks)) if spec.is_sound(f"sinks.{index}")]
    found = [
        check_destination(spec, index, places[index], types) or prove_destination(spec, index, places[index])
        for index in sound
    ]
    return [problem for problem in found if problem]


def find_invalid(spec: Spec, places: Sequence[Destination]) -> list[Problem]:
    """Return which places of a spec's sinks cannot be written, as far as is known without a connection."""
    files = [index for index, sink in enumerate(spec.sinks) if sink.type != "sql"]
    sound = [index for index in files if spec.is_sound(f"sinks.{index}")]
    found = [one for index in sound if (one := check_destination(spec, index, places[index]))]
    return [*found, *_find_invalid_manifest(spec, spec.root), *_check_report(spec, spec.root, places)]


def _find_invalid_manifest(spec: Spec, output_root: Path) -> Iterator[Problem]:
    """Yield why the manifest cannot be written, as far as can be told without writing."""
    if spec.manifest is not None and spec.is_sound("manifest"):
        place = Destination(resolve_path(spec.manifest, root=spec.root, base=output_root))
        if (message := why_not_writable(place)) is not None:
            yield spec.problem("manifest", f"manifest: {message.replace('this sink', 'it')}")


def find_places(spec: Spec, output_root: Path) -> list[Destination]:
    """Return the places of a spec's sinks below `output_root`."""
    return [resolve_destination(sink, root=spec.root, base=output_root) for sink in spec.sinks]


def check_destinations(spec: Spec, output_root: Path) -> list[Destination]:
    """Return the places of a spec's sinks below `output_root`.

    Raises InputError if one cannot be written, as far as is known without writing: databases are asked.
    """
    places = find_places(spec, output_root)
    found = [check_destination(spec, index, place) for index, place in enumerate(places)]
    problems = [problem for problem in found if problem]
    problems += [*_find_invalid_manifest(spec, output_root), *_check_report(spec, output_root, places)]
    if problems:
        raise InputError(problems)
    return places


def _check_report(spec: Spec, output_root: Path, places: Sequence[Destination]) -> Iterator[Problem]:
    """Yield why the page about a run cannot be written, as far as is known without writing."""
    place = resolve_report(spec, output_root)
    if place is None or not spec.is_sound("report"):
        return
    if place in places:
        yield spec.problem("report", f"{place} is also the file of a sink: name another one")
    elif why := why_not_writable(place):
        yield spec.problem("report", why.replace("the `path` of this sink", "`report`"))


def prove_destinations(spec: Spec, places: Sequence[Destination]) -> None:
    """Raise InputError for places at which nothing can be written; see `prove_destination`."""
    found = [prove_destination(spec, index, place) for index, place in enumerate(places)]
    if problems := [problem for problem in found if problem]:
        raise InputError(problems)


def check_tables(context: "RunContext", destinations: Sequence[Destination]) -> None:
    """Discard a prepared run and raise InputError if a table does not accept its column types."""
    from runner.runs.snapshot import read_snapshot

    types = read_snapshot(context.store, context.run).types
    tables = [index for index, sink in enumerate(context.spec.sinks) if sink.type == "sql"]
    unfit = [check_destination(context.spec, index, destinations[index], types) for index in tables]
    if problems := [problem for problem in unfit if problem]:
        context.store.delete_run(context.run)
        raise InputError(problems)
