"""The context that all steps of a run share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StateError
from runner.runs.project import SIMULATED_FOLDER
from runner.runs.summary import Summary, summarize_run
from runner.spec.spec import Spec
from runner.store.records import Batch, Run
from runner.store.store import Store
from runner.text import pluralize

ProgressCallback = Callable[[str, Summary], None]
"""Callback after every change: takes a line for the user and the current summary of the run."""


def ignore_progress(line: str, summary: Summary) -> None:
    """Ignore all reports."""


@dataclass(slots=True)
class RunContext:
    """A run in progress: its spec, its state, the base folder of its outputs, and the report callback.

    With `overwrite` its outputs replace complete ones even if it is partial.
    """

    spec: Spec
    store: Store
    run: Run
    output_root: Path
    on_progress: ProgressCallback = ignore_progress
    overwrite: bool = False

    @property
    def is_simulated(self) -> bool:
        """True if the run is sent to the simulator."""
        return self.output_root == self.spec.root / SIMULATED_FOLDER

    def report(self, line: str) -> None:
        """Report a change with a line for the user."""
        self.on_progress(line, summarize_run(self.store, self.run))


def rows_of_batch(context: RunContext, batch: Batch) -> list[int]:
    """Return the rows of a batch that was sent. Raises StateError if they are not as many as were sent.

    A row that the database lost would be looked for among the results of others, and never be found.
    """
    rows = list(context.store.row_index.rows_of(batch))
    if len(rows) != batch.requests:
        recorded = pluralize(batch.requests, "row")
        raise StateError(f"{batch_label(batch)} does not have the recorded {recorded}: the database is damaged")
    return rows


def batch_label(batch: Batch) -> str:
    """Return the name of a batch in messages: its number, and its round from the second round on."""
    return f"batch {batch.batch}" if batch.round == 1 else f"batch {batch.batch} of round {batch.round}"
