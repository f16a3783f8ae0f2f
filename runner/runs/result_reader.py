"""Outcomes of rows, read again from their lines in the results files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runner.results.outcome import Outcome, parse_result
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.row_reader import RowReader, open_row_reader
from runner.store.run_folder import FileSlices, RunFolder, open_slices


@dataclass(frozen=True, slots=True)
class ResultReader:
    """One pass over results, in ascending order of their rows."""

    folder: RunFolder
    output_format: OutputFormat
    slices: FileSlices
    rows: RowReader

    def read_line(self, round: int, batch: int, offset: int, length: int) -> bytes:
        """Return one line of a results file. Raises OSError."""
        return self.slices.read(self.folder.results(round, batch), offset, length)

    def parse(self, row: int, line: bytes) -> Outcome:
        """Return the outcome of a row by its line. Raises ValueError for a line that is not a result."""
        fields = self.rows.read_fields(row) if self.output_format.checks else None
        return parse_result(line, self.output_format, fields)


@contextmanager
def open_result_reader(context: RunContext, output_format: OutputFormat) -> Iterator[ResultReader]:
    """Open the rows and results of a run."""
    folder = context.store.folder(context.run)
    with open_slices() as slices, open_row_reader(context) as rows:
        yield ResultReader(folder, output_format, slices, rows)
