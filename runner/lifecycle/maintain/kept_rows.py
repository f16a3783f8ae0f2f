"""The rows of a finished run, for a run that retries it: which are sent, and which keep their results."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from runner.errors import UsageError
from runner.lifecycle.deliver.row_results import RowResult, read_row_results, verify_results
from runner.lifecycle.prepare.first_round import KeptResult
from runner.results.outcome import Outcome
from runner.results.output_format import OutputFormat
from runner.sources.read import Row
from runner.store.records import Run
from runner.store.run_folder import open_slices
from runner.store.store import Store

_NO_OUTCOME = Outcome("", "missing")


@dataclass(frozen=True, slots=True)
class RetryChoice:
    """The rows to retry: all that did not succeed, or only those with this outcome or key."""

    outcome: str | None = None
    key: str | None = None

    def fits(self, found: RowResult, outcome: Outcome) -> bool:
        """Return whether a row is sent again, by its outcome under today's rules."""
        return (
            outcome.outcome != "succeeded"
            and self.outcome in (None, outcome.outcome)
            and self.key in (None, str(found.key))
        )

    def describe(self) -> str:
        """Return the choice in words."""
        named = [f"with the outcome {self.outcome}"] if self.outcome is not None else []
        named += [f"with the key {self.key!r}"] if self.key is not None else []
        return " and ".join(named)


ALL_FAILED = RetryChoice()


def read_kept_rows(
    store: Store, run: Run, output_format: OutputFormat, choice: RetryChoice, *, path: str
) -> Iterator[tuple[Row, KeptResult | None]]:
    """Yield the rows of a finished run in input order, each with the result that it keeps; None if it is sent.

    Every answer is judged again by `output_format`: one that has become invalid is sent again, and one that has
    become valid is kept. `path` is named as the place of the rows. Raises UsageError if no row fits a `choice`
    that names any, and StateError if the files of the run are damaged.
    """
    verify_results(store, run)
    is_chosen = choice == ALL_FAILED
    with open_slices() as files:
        for found in read_row_results(store, run, output_format, files):
            outcome = found.outcome or _NO_OUTCOME
            row = Row(found.number, found.key, msgspec.json.decode(found.fields), path, 0)
            if choice.fits(found, outcome):
                is_chosen = True
                yield row, None
            else:
                yield row, KeptResult(outcome.outcome, found.line, found.digest)
    if not is_chosen:
        raise UsageError(f"run {run.id} has no failed row {choice.describe()}: `runner show {run.id} --failed`")
