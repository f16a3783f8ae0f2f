"""Outcomes out: every sink type is one function that writes rows of values to an open file."""

import gzip
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from runner.durable import replacing
from runner.errors import InputError, Problem
from runner.prompt import RECORD, expression
from runner.sinks.csv import write_csv
from runner.sinks.jsonl import write_jsonl
from runner.spec import Sink, Spec

__all__ = ["SINKS", "check", "check_place", "open_sink", "place"]

_REMEDY = "correct the sink and run again: nothing is lost and nothing is sent twice"

Record = Mapping[str, Any]
"""What is known of one row at the end, by the names in `prompt.RECORD`."""

SINKS: dict[str, Callable[..., AbstractContextManager[Callable[[Sequence[Any]], None]]]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
}


def place(sink: Sink, *, root: Path, base: Path) -> Path:
    """Where a sink writes: below `base`, which is the project's folder `root` or, simulated, one inside it.

    An absolute path stays itself in the first case and is moved below `base` in the second.
    """
    path = Path(sink.options["path"])
    return base / (path.relative_to(path.anchor) if base != root else path)


def _columns(sink: Sink) -> dict[str, Callable[[Record], Any]]:
    return {name: expression(text) for name, text in (sink.columns or {name: name for name in RECORD}).items()}


def check(spec: Spec) -> list[Problem]:
    """What is wrong with the column expressions of a spec's sinks."""
    problems = []
    for index, sink in enumerate(spec.sinks):
        for name, text in (sink.columns or {}).items():
            try:
                expression(text)
            except ValueError as error:
                problems.append(spec.problem(f"sinks.{index}.columns.{name}", f"column {name!r}: {error}"))
    return problems


@contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, keeps_same=True) as raw:
        if not path.name.lower().endswith(".gz"):
            yield raw
            return
        # No time of writing in the header: the same rows give the same bytes.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
            yield cast(BinaryIO, packed)


@contextmanager
def _writing(spec: Spec, index: int, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}; {_REMEDY}"
        raise InputError([spec.problem(f"sinks.{index}.path", message)]) from error


def check_place(spec: Spec, index: int, path: Path) -> Problem | None:
    """Why a sink cannot write to `path`, as far as a look can tell, or None."""
    try:
        parent = next(folder for folder in path.parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            message = f"{parent} is not a folder that can be written"
        elif path.is_dir():
            message = f"{path} is a folder"
        elif path.exists() and not path.is_file():
            # The output would take its place: root's /dev/null would be gone.
            message = f"{path} is not a file"
        else:
            return None
    except OSError as error:
        message = f"{path} cannot be looked at: {error.strerror}"
    return spec.problem(f"sinks.{index}.path", message)


@contextmanager
def open_sink(spec: Spec, index: int, path: Path) -> Iterator[Callable[[Record], bool]]:
    """Yield a function that takes each record in turn and returns whether it was one for this sink.

    The file appears at `path` when the context ends without an error. Raises InputError if a column
    cannot be computed.
    """
    sink = spec.sinks[index]
    columns = _columns(sink)
    options = {name: value for name, value in sink.options.items() if name != "path"}
    with _writing(spec, index, path), ExitStack() as stack:
        file = stack.enter_context(_file(path))
        write = stack.enter_context(SINKS[sink.type](file, list(columns), **options))

        def take(record: Record) -> bool:
            if sink.rows != "all" and (sink.rows == "succeeded") != (record["outcome"] == "succeeded"):
                return False
            try:
                write([value(record) for value in columns.values()])
            except (ValueError, TypeError, RecursionError) as error:
                message = f"a column cannot be computed for the row {record['key']!r}: {error}; {_REMEDY}"
                raise InputError([spec.problem(f"sinks.{index}.columns", message)]) from error
            return True

        yield take
