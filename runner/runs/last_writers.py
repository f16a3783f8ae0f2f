"""The runs that last wrote each output of a project, and outputs that belong to another spec."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.sinks.destination import Destination
from runner.spec.spec import Sink
from runner.store.records import Run
from runner.store.run_batches import decode_column
from runner.store.store import Store

Writers = dict[tuple[str, str | None], Run]
"""The newest run that wrote each output, by its path and table."""


class SharedOutput(NamedTuple):
    """An output that another spec wrote last: the index of the sink, and the reason to look at it."""

    sink: int
    message: str


def find_last_writers(store: Store) -> Writers:
    """Return the newest run that wrote each output, by its path and table."""
    found: Writers = {}
    for run in store.runs():
        for entry in decode_column(run.sinks, list[dict[str, Any]]):
            found.setdefault((str(entry["path"]), entry.get("table")), run)
    return found


def find_shared_outputs(
    store: Store, spec_name: str, sinks: Sequence[Sink], places: Sequence[Destination]
) -> list[SharedOutput]:
    """Return the outputs at `places`, one for each sink, that another spec of the project wrote last."""
    writers, found = find_last_writers(store), []
    for index, (sink, place) in enumerate(zip(sinks, places, strict=True)):
        table = sink.options["table"] if sink.type == "sql" else None
        writer = writers.get((str(place), table))
        is_there = place.path is None or place.path.exists()
        if writer is not None and writer.spec != spec_name and is_there:
            what = {"sql": "rows with equal keys", "files": "files with equal names"}.get(sink.type, "it")
            message = (
                f"{place} was last written by the spec {writer.spec!r} (run {writer.id}): this run replaces "
                f"{what}, so give one of the specs another place if both outputs are needed"
            )
            found.append(SharedOutput(index, message))
    return found
