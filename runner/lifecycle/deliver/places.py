"""Choose where a run writes its outputs: a partial run never replaces complete outputs.

A run is partial if `--limit` cut its rows off, if rows were canceled, or as long as rows have no outcome. Outputs
are complete if the last run that wrote them was not partial, or if they exist and no known run wrote them.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePosixPath

from runner.errors import StateError
from runner.files.compression import is_compressed
from runner.files.remote import stat_url
from runner.runs.context import RunContext
from runner.runs.last_writers import Writers, find_last_writers
from runner.runs.snapshot import read_snapshot
from runner.sinks.destination import Destination, resolve_destination
from runner.spec.spec import Sink
from runner.store.records import Run
from runner.store.store import Store


@dataclass(frozen=True, slots=True)
class OutputPlace:
    """The place of one output. `instead_of` is the place that the spec names, if its complete output stays.

    With `keeps_rows` the place is a table in which a canceled row must not replace an older one.
    """

    destination: Destination
    instead_of: Destination | None = None
    keeps_rows: bool = False


def choose_places(context: RunContext, *, has_open_rows: bool) -> list[OutputPlace]:
    """Return the places of a run's sinks; `has_open_rows` means that some rows have no outcome yet."""
    named = [
        resolve_destination(sink, root=context.spec.root, base=context.output_root) for sink in context.spec.sinks
    ]
    is_partial = has_open_rows or _has_partial_rows(context.store, context.run)
    if context.overwrite or not is_partial:
        return [OutputPlace(place) for place in named]
    last_writers = find_last_writers(context.store)
    chosen = [
        _choose_place(context, last_writers, sink, place)
        for sink, place in zip(context.spec.sinks, named, strict=True)
    ]
    if kept := [str(place.instead_of) for place in chosen if place.instead_of is not None]:
        line = f"this run is partial, so {', '.join(kept)} stays as it is; --overwrite replaces it"
        context.report("warning", line)
    return chosen


def _has_partial_rows(store: Store, run: Run) -> bool:
    """Return whether a run leaves rows out: by `--limit`, or because they were canceled."""
    limit = read_snapshot(store, run).limit
    is_limited = limit is not None and run.rows >= limit
    return is_limited or store.counts.read(run).get("canceled", 0) > 0


def _choose_place(context: RunContext, last_writers: Writers, sink: Sink, named: Destination) -> OutputPlace:
    table = sink.options["table"] if sink.type == "sql" else None
    if table is not None:
        # A row replaces only the row with its key, so rows that are left out stay.
        return OutputPlace(named, keeps_rows=_is_complete(context, last_writers, named, table))
    for place in _candidates(named):
        if not _is_complete(context, last_writers, place, None):
            return OutputPlace(place, instead_of=named if place != named else None)
    raise AssertionError("there is always another name")


def _is_complete(context: RunContext, last_writers: Writers, place: Destination, table: str | None) -> bool:
    """Return whether a place has complete outputs, which a partial run must not replace."""
    writer = last_writers.get((str(place), table))
    if writer is None:
        return _exists(place)
    if writer.number == context.run.number or writer.state != "finished":
        return False
    try:
        return not _has_partial_rows(context.store, writer) and _exists(place)
    except StateError:
        return True


def _exists(place: Destination) -> bool:
    """Return whether there is anything at a place; also true if that cannot be found out."""
    if place.path is not None:
        return any(place.path.iterdir()) if place.path.is_dir() else place.path.exists()
    try:
        stat_url(place.url, refresh=True)
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


def _candidates(named: Destination) -> Iterator[Destination]:
    """Yield the place that the spec names, then places beside it: `labels.partial.csv`, `labels.partial-2.csv`."""
    yield named
    for number in count(1):
        mark = ".partial" if number == 1 else f".partial-{number}"
        if named.path is not None:
            yield replace(named, path=named.path.with_name(_insert_mark(named.path, mark)))
        else:
            folder, _, name = named.url.rpartition("/")
            yield replace(named, url=f"{folder}/{_insert_mark(PurePosixPath(name), mark)}")


def _insert_mark(path: Path | PurePosixPath, mark: str) -> str:
    """Return the name of a file with a mark before its suffix; a compressed file has two suffixes."""
    suffix = "".join(path.suffixes[-2:]) if is_compressed(path.name) else path.suffix
    return f"{path.name.removesuffix(suffix)}{mark}{suffix}"
