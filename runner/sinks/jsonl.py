"""JSON Lines out: one object per row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec


@contextmanager
def write_jsonl(file: BinaryIO, columns: Sequence[str]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, in the order of `columns`."""
    encoder = msgspec.json.Encoder()

    def write(values: Sequence[Any]) -> None:
        file.write(encoder.encode(dict(zip(columns, values, strict=True))) + b"\n")

    yield write
