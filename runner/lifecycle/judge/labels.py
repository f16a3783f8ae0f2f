"""Labels that were written after a run: they are read from its source as it is now, by key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import InputError
from runner.evaluation.evaluator import UNUSABLE, Evaluator, Labels
from runner.files.remote import is_url
from runner.runs.snapshot import SpecSnapshot
from runner.sources.changed_files import find_changed_files, is_read_once
from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.spec.record import make_record, spec_from_record
from runner.spec.spec import Source, Spec
from runner.store.temporary.key_index import KeyIndex, open_key_index


@dataclass(slots=True)
class ChangedSource:
    """A source that has changed since a run read it: the `columns` of its rows, and their labels by key.

    If the source cannot be read, `problem` says why.
    """

    root: Path
    source: Source
    index: KeyIndex
    columns: list[str] = field(default_factory=list)
    problem: str | None = None

    def read_columns(self) -> None:
        """Read the columns of the first row."""
        try:
            self.columns = [name for row in self._read(limit=1) for name in row.fields]
        except InputError as error:
            self.problem = str(error.problems[0])

    def read_labels(self, evaluator: Evaluator) -> None:
        """Read the labels of all rows."""
        if self.problem is not None:
            return
        try:
            for row in self._read():
                labels = evaluator.read_labels(row.key, row.fields)
                if any(label is not None for label in labels):
                    self.index.add(str(row.key), _encode_labels(labels))
        except InputError as error:
            self.problem = str(error.problems[0])

    def find_labels(self, key: str | int) -> Labels | None:
        """Return the labels of the row with this key, or None if it has none."""
        found = self.index.find(str(key))
        return None if found is None else _decode_labels(found)

    def _read(self, limit: int | None = None) -> Iterator[Row]:
        return read_rows(self.source, Inputs(self.root), limit=limit)


_UNUSABLE_MARK = "unusable"


def _encode_labels(labels: Labels) -> bytes:
    # A label is written in a list, so that each text can be one.
    marks: list[Any] = [
        None if label is None else _UNUSABLE_MARK if label is UNUSABLE else [label] for label in labels
    ]
    return msgspec.json.encode(marks)


def _decode_labels(data: bytes) -> Labels:
    marks = msgspec.json.decode(data)
    return tuple(None if mark is None else UNUSABLE if mark == _UNUSABLE_MARK else mark[0] for mark in marks)


@contextmanager
def open_changed_source(spec: Spec, before: SpecSnapshot) -> Iterator[ChangedSource | None]:
    """Yield the source of a spec if it has changed since a run, or None if the labels are those of the run.

    They are also if its rows have no keys, or cannot be read again from files on this machine, and if they are
    answers of another spec: an answer that has changed since is not the one that was judged.
    """
    if not _has_changed(spec, before):
        yield None
        return
    with open_key_index() as index:
        # Which rows are meant is decided: they are those of the run.
        source = ChangedSource(spec.root, replace(spec.source, where=None, sample=None, limit=None), index)
        source.read_columns()
        yield source


def _has_changed(spec: Spec, before: SpecSnapshot) -> bool:
    """Return whether a source whose rows can be found again by key differs from what a run read."""
    recorded = spec_from_record(before.record, path=Path(), root=Path()).source
    if spec.source.key is None or spec.source.key != recorded.key or not _is_in_files(spec.root, spec.source):
        return False
    is_limited = before.limit is not None or recorded.limit is not None
    is_same = make_record(spec)["source"] == before.record["source"]
    return not is_same or bool(
        find_changed_files(spec.root, spec.source.path, before.inputs, is_limited=is_limited)
    )


def _is_in_files(root: Path, source: Source) -> bool:
    is_elsewhere = source.is_given or source.is_query or source.output is not None or is_url(source.path)
    if is_elsewhere or source.path == "-":
        return False
    # What is not there is a file that was deleted.
    return not (root / source.path).exists() or not is_read_once(root, source.path)
