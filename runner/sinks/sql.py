"""A table of a database, written in one transaction; a row takes the place of an older one with its key."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from runner import database
from runner.sinks.place import Place


@contextmanager
def write_sql(
    place: Place, columns: Mapping[str, Any], *, table: str, key: str = "key"
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, already of the types that `columns` say."""
    if place.path is not None:
        place.path.parent.mkdir(parents=True, exist_ok=True)
    with database.upserting(place.database, table, columns, key) as write:
        yield write
