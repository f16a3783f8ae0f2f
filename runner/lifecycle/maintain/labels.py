"""Labels that were written after a run: they are read from its source as it is now, by key."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import InputError
from runner.evaluation.evaluator import Evaluator, Labels
from runner.files.remote import is_url
from runner.runs.snapshot import SpecSnapshot
from runner.sources.changed_files import find_changed_files, is_read_once
from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.spec.record import spec_from_record
from runner.spec.spec import Source, Spec


@dataclass(slots=True)
class ChangedSource:
    """A source that has changed since a run read it: the `columns` of its rows, and their labels by key.

    Only rows that have a label are kept. If the source cannot be read, `problem` says why, and it has none.
    """

    root: Path
    source: Source
    columns: list[str] = field(default_factory=list)
    labels: dict[str, Labels] = field(default_factory=dict)
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
                # Labels are written by hand: rows without one take no memory.
                if any(label is not None for label in labels):
                    self.labels[str(row.key)] = labels
        except InputError as error:
            self.problem = str(error.problems[0])

    def _read(self, limit: int | None = None) -> Iterator[Row]:
        return read_rows(self.source, Inputs(self.root), limit=limit)


def find_changed_source(spec: Spec, before: SpecSnapshot) -> ChangedSource | None:
    """Return the source of a spec if it has changed since a run, or None if the labels are those of the run.

    They are also if its rows have no keys, or cannot be read again from files on this machine, and if they are
    answers of another spec: an answer that has changed since is not the one that was judged.
    """
    recorded = spec_from_record(before.record, path=Path(), root=Path()).source
    if spec.source.key is None or spec.source.key != recorded.key or not _is_in_files(spec.root, spec.source):
        return None
    is_limited = before.limit is not None or recorded.limit is not None
    is_same = spec.to_record()["source"] == before.record["source"]
    if is_same and not find_changed_files(spec.root, spec.source.path, before.inputs, is_limited=is_limited):
        return None
    # Which rows are meant is decided: they are those of the run.
    source = ChangedSource(spec.root, replace(spec.source, where=None, sample=None, limit=None))
    source.read_columns()
    return source


def _is_in_files(root: Path, source: Source) -> bool:
    if (
        source.is_given
        or source.is_query
        or source.output is not None
        or is_url(source.path)
        or source.path == "-"
    ):
        return False
    # What is not there is a file that was deleted.
    return not (root / source.path).exists() or not is_read_once(root, source.path)
