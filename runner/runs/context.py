"""The context that all steps of a run share."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from runner.errors import StateError
from runner.pricing.rates import Rate, rate_for_spec
from runner.runs.events import ProgressCallback, RunEvent, ignore_progress
from runner.runs.project import SIMULATED_FOLDER
from runner.runs.summary import Summary, build_summary, measure_progress
from runner.spec.spec import Spec
from runner.store.records import Batch, Run
from runner.store.run_batches import RunBatches
from runner.store.store import Store
from runner.text import pluralize
from runner.workers.tasks import Jobs


def do_nothing() -> None:
    """Do nothing: nobody is told of alarms."""


@dataclass(slots=True)
class RunContext:
    """A run in progress: its spec, its state, the base folder of its outputs, and the report callback.

    With `overwrite` its outputs replace complete ones even if it is partial. `stop` is set once the user wants to
    stop. `jobs` is where the work on rows and results is done. `on_alarm` is called after an alarm of the run was
    recorded, of which receivers are to be told.
    """

    spec: Spec
    store: Store
    run: Run
    output_root: Path
    on_progress: ProgressCallback = ignore_progress
    overwrite: bool = False
    stop: Event = field(default_factory=Event)
    jobs: Jobs = 1
    on_alarm: Callable[[], None] = do_nothing

    @property
    def is_simulated(self) -> bool:
        """True if the run is sent to the simulator."""
        return self.output_root == self.spec.root / SIMULATED_FOLDER

    @property
    def rate(self) -> Rate | None:
        """The rate at which the requests of the run are billed, or None if no price is known."""
        return rate_for_spec(self.spec, self.run.cache)

    def cost_upper_bound(self, sizes: Iterable[int], *, is_batched: bool) -> float | None:
        """Return an upper bound of the cost of requests of these sizes in bytes, or None without a known price."""
        rate = self.rate
        return None if rate is None else rate.cost_upper_bound(sizes, is_batched=is_batched)

    def report(
        self, name: str, line: str, batch: Batch | None = None, *, next_look: float | None = None,
        summary: Summary | None = None,
    ) -> None:  # fmt: skip
        """Report an event, one of `EVENTS`, with a line for people; the label of its batch is put before the line.

        `next_look` is in Unix seconds. `summary` replaces the usual one, which has no failures.
        """
        event = build_event(
            self.store,
            self.run,
            name,
            line if batch is None else f"{batch_label(batch)}: {line}",
            batch=None if batch is None else batch.batch,
            round=None if batch is None else batch.round,
            next_look=next_look,
        )
        self.on_progress(event if summary is None else replace(event, read_summary=lambda: summary))


def build_event(store: Store, run: Run, name: str, message: str, **fields: Any) -> RunEvent:
    """Return an event of a run as it stands; `fields` are further ones of `RunEvent`."""
    batches, progress = store.run_batches(run), measure_progress(store, run)
    summarize = partial(build_summary, run, progress, batches)
    return RunEvent(name, message, progress, summarize, **fields, expected_end=estimate_end(batches, time.time()))


def estimate_end(batches: RunBatches, now: float) -> float | None:
    """Return when the last batch ends if each takes as long as those that have ended, in Unix seconds.

    Returns None before the first one has ended, and after the last.
    """
    times, newest = batches.totals.seconds, batches.newest_in_state("submitted")
    unsent, sent = batches.count("prepared", "submitting"), batches.count("submitted")
    if not times or not (sent or unsent):
        return None
    typical = times[-(-9 * len(times) // 10) - 1]
    # Unsent batches follow as those in progress end: as many at a time.
    waves = -(-unsent // max(1, sent))
    last = now if newest is None else (newest.created_at or now) + typical
    return max(now, last) + waves * typical


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
    return batch.label
