"""Sinks that are delivered together: one that fails keeps no other group from being delivered."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, BinaryIO

from runner.errors import InputError, Problem
from runner.lifecycle.deliver.places import OutputPlace
from runner.sinks.open import make_write_error, open_sink
from runner.spec.spec import Spec
from runner.tabular.database import DatabaseError, Transactions, identify_database


@dataclass(slots=True)
class SinkGroup:
    """The tables of one database, which appear together, or one sink of another kind.

    `rows` counts the rows of each sink by its index, and `cuts` its cells that were cut, by column. Once it has
    failed, its `problems` say why, and it takes no more records.
    """

    places: Mapping[int, OutputPlace]
    rows: dict[int, int] = field(default_factory=dict)
    cuts: dict[int, Counter[str]] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    _writers: dict[int, Callable[[Mapping[str, Any]], bool]] = field(default_factory=dict)
    _opened: dict[int, BinaryIO] = field(default_factory=dict)
    _files: ExitStack = field(default_factory=ExitStack)
    _transactions: Transactions = field(default_factory=Transactions)

    def open(self, spec: Spec, types: Mapping[str, Any]) -> None:
        """Open the sinks of the group. `types` are the schemas of the source's columns."""
        self._attempt(lambda: self._open(spec, types))

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the record of one row to the sinks that take it."""
        if self.problems:
            return
        try:
            for index, write_record in self._writers.items():
                if not (self.places[index].keeps_rows and record["outcome"] == "canceled"):
                    self.rows[index] += write_record(record)
        except InputError as error:
            self._fail(error)

    def write_lines(self, spec: Spec, index: int, lines: bytes, rows: int) -> None:
        """Write what others have formatted of so many rows to the file of a sink of a spec."""
        # A compressed file without a row is empty; after a write of nothing, Zstandard would make a frame.
        if self.problems or not rows:
            return
        try:
            self._opened[index].write(lines)
            self.rows[index] += rows
        except OSError as error:
            self._fail(make_write_error(spec, index, self.places[index].destination, error))

    def complete_files(self) -> None:
        """Let the files of the group appear."""
        self._attempt(self._files.close)

    def commit(self) -> None:
        """Commit the tables of the group, once all files are in place."""
        self._attempt(lambda: self._transactions.__exit__(None, None, None))

    def discard(self, error: BaseException) -> None:
        """Write nothing."""
        # An error while closing must not hide the one that is the reason.
        with suppress(Exception):
            self._files.__exit__(type(error), error, error.__traceback__)
        with suppress(Exception):
            self._transactions.__exit__(type(error), error, error.__traceback__)

    def _open(self, spec: Spec, types: Mapping[str, Any]) -> None:
        for index, place in self.places.items():
            note_file = partial(self._opened.__setitem__, index)
            destination = replace(place.destination, transactions=self._transactions, on_open=note_file)
            cuts = self.cuts[index] = Counter()
            self._writers[index] = self._files.enter_context(open_sink(spec, index, destination, types, cuts))
            self.rows[index] = 0

    def _attempt(self, step: Callable[[], object]) -> None:
        """Take a step unless the group has failed; note its problems if it fails."""
        if self.problems:
            return
        try:
            step()
        except InputError as error:
            self._fail(error)
        except DatabaseError as error:
            self._fail(InputError([Problem("sinks", f"cannot write: {error}; run again: nothing is lost")]))

    def _fail(self, error: InputError) -> None:
        self.problems = error.problems
        self.discard(error)


def group_sinks(spec: Spec, places: Sequence[OutputPlace]) -> list[SinkGroup]:
    """Return the sinks of a spec in groups that are delivered together, in their order."""
    groups: dict[str, dict[int, OutputPlace]] = {}
    for index, (sink, place) in enumerate(zip(spec.sinks, places, strict=True)):
        name = identify_database(place.destination.database_url) if sink.type == "sql" else str(index)
        groups.setdefault(name, {})[index] = place
    return [SinkGroup(one) for one in groups.values()]
