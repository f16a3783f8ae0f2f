"""JSON Lines sink: one object per row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from runner.sinks.destination import Destination


@contextmanager
def write_jsonl(destination: Destination, columns: Iterable[str]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Write JSON Lines: one object per row.

    Yield a function that writes one row of values, in the order of `columns`.
    """
    names, encoder = list(columns), msgspec.json.Encoder()
    with destination.open_file() as file:

        def write(values: Sequence[Any]) -> None:
            file.write(encoder.encode(dict(zip(names, values, strict=True))) + b"\n")

        yield write
