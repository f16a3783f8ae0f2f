"""The public summary of a run."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

from runner.evaluation.score import Score
from runner.results.outcome_names import OUTCOMES
from runner.runs.project import is_simulated_state
from runner.store.api_queue import FullQueue
from runner.store.records import Batch, Run
from runner.store.run_batches import BatchTotals, RunBatches, decode_column
from runner.store.store import Store


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed rows of one reason: their number, and the key and the beginning of the answer of the first.

    `reason` begins with the outcome and holds nothing of the row. The last group can be that of `other reasons`,
    whose outcome is None if they differ.
    """

    outcome: str | None
    reason: str
    rows: int
    key: str | int
    answer: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Public summary of a run.

    If it `is_simulated`, nothing was paid, and answers, tokens and costs are invented.
    `seconds` is the time since the run began; once finished, its duration.
    `outcomes` counts the rows with each outcome so far.
    `batches` holds {id, state, requests} of each batch, its `account` if it has one, and its `mode` if it is sent
    synchronously. If some lines of its results were unusable, `ignored_lines` counts them by kind.
    `missing_results` counts the rows that the API counted, and which are paid, but for which it never had a
    result. If it was sent again after a create that may have been accepted, `doubted_cost` is the most that it may
    cost besides, and `round` and `batch` name it.
    `sinks` holds {type, path, rows} of each output once written, `instead_of` if it is beside a complete one, and
    `cut`, which counts by column the cells that hold only a part of their text, if there are any.
    `usage` holds the tokens of all responses, under the API's names.
    `cost` is in US dollars: `estimated` when the run was confirmed, `actual` so far, `synchronous` if everything
    had been sent synchronously, `saved`, and `saved_by_cache` (negative if writing the cache cost more). An amount
    is None if no price is known. If the usage of some answers
    could not be read, these amounts are None, `max` is the most that the run can have cost, and `unreadable_usage`
    counts those answers by field.
    `failures` groups the failed rows by reason, the most frequent first. It is None if they were not read: of a
    run that goes on, in a list of runs, or after a purge.
    `evaluation` holds the score of each evaluation of the spec, once outputs were written. It is None before, and
    if the spec has none.
    If it `is_pilot`, its rows are a sample of those of the job.
    `accounts` holds {batches, requests} in processing of each account that has any.
    `queues` holds the API's queues that it waits for or has requests in, as far as they are known to be full.
    """

    run: str
    spec: str
    state: str
    rows: int
    outcomes: dict[str, int]
    batches: list[dict[str, Any]]
    sinks: list[dict[str, Any]]
    usage: dict[str, int]
    cost: dict[str, float | None]
    seconds: float
    unreadable_usage: dict[str, int] = field(default_factory=dict)
    failures: list[FailureGroup] | None = None
    is_simulated: bool = False
    evaluation: list[Score] | None = None
    is_pilot: bool = False
    accounts: dict[str, dict[str, int]] = field(default_factory=dict)
    queues: list[FullQueue] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Exit code: 0 if all is well, 3 if rows failed or an evaluation is below its threshold, 4 if unfinished.

        Rows with contradicting results count as failed.
        """
        if self.state != "finished":
            return 4
        has_contradiction = any("contradicting" in batch.get("ignored_lines", {}) for batch in self.batches)
        has_failed_rows = self.outcomes.get("succeeded", 0) < self.rows or has_contradiction
        return 3 if has_failed_rows or any(score.is_missed for score in self.evaluation or ()) else 0


def _describe_batch(batch: Batch) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": batch.batch_id, "state": batch.state, "requests": batch.requests}
    if batch.account is not None:
        shown["account"] = batch.account
    if batch.send_mode != "batch":
        shown["mode"] = batch.send_mode
    if batch.missing_results:
        shown["missing_results"] = batch.missing_results
    if batch.doubted_cost:
        doubted = round(batch.doubted_cost, 6)
        shown |= {"round": batch.round, "batch": batch.batch, "doubted_cost": doubted}
    ignored = decode_column(batch.ignored_lines, dict[str, int])
    return {**shown, "ignored_lines": ignored} if ignored else shown


def _count_by_account(batches: RunBatches) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for batch in batches.in_state("submitting", "submitted"):
        if batch.account is not None:
            counts = found.setdefault(batch.account, {"batches": 0, "requests": 0})
            counts["batches"] += 1
            counts["requests"] += batch.requests
    return dict(sorted(found.items()))


_TOKEN_FIELDS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _summarize_cost(run: Run, totals: BatchTotals) -> dict[str, float | None]:
    actual, synchronous = totals.cost, totals.synchronous_cost
    saved = None if actual is None or synchronous is None else synchronous - actual
    by_cache = None if actual is None else totals.cache_saving
    known = {"actual": actual, "at_sync_price": synchronous, "saved": saved, "saved_by_cache": by_cache}
    amounts = {"estimated": run.estimated_cost, **known}
    if totals.usage.unreadable:
        unknown = dict.fromkeys(known)
        amounts = {"estimated": run.estimated_cost, **unknown, "max": actual}
    return {name: None if dollars is None else round(dollars, 6) for name, dollars in amounts.items()}


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run, which is known after each step without reading all of its batches.

    `batches` counts the batches in each state. The other fields are those of `Summary`.
    """

    run: str
    spec: str
    state: str
    rows: int
    outcomes: dict[str, int]
    batches: dict[str, int]
    cost: dict[str, float | None]
    seconds: float
    unreadable_usage: dict[str, int]
    is_simulated: bool


def measure_progress(store: Store, run: Run) -> Progress:
    """Return how far a run is now."""
    batches = store.run_batches(run)
    counts = store.counts.read(run)
    return Progress(
        run=run.id,
        spec=run.spec,
        state="canceling" if run.is_canceled and run.state == "running" else run.state,
        rows=run.rows,
        outcomes={name: counts[name] for name in OUTCOMES if name in counts},
        batches=batches.count_by_state(),
        cost=_summarize_cost(run, batches.totals),
        seconds=round((run.finished_at or time.time()) - run.created_at, 3),
        unreadable_usage=dict(batches.totals.usage.unreadable),
        is_simulated=is_simulated_state(store.path),
    )


def build_summary(run: Run, progress: Progress, batches: RunBatches) -> Summary:
    """Return the summary of a run that is so far."""
    usage = batches.totals.usage
    return Summary(
        run=progress.run,
        spec=progress.spec,
        state=progress.state,
        rows=progress.rows,
        outcomes=progress.outcomes,
        batches=[_describe_batch(batch) for batch in batches],
        sinks=decode_column(run.sinks, list[dict[str, Any]]),
        usage={name: getattr(usage, name) or 0 for name in _TOKEN_FIELDS},
        cost=progress.cost,
        seconds=progress.seconds,
        unreadable_usage=progress.unreadable_usage,
        is_simulated=progress.is_simulated,
        evaluation=None if run.evaluation is None else decode_column(run.evaluation, list[Score]),
        is_pilot=run.is_pilot,
        accounts=_count_by_account(batches),
    )


def summarize_run(store: Store, run: Run) -> Summary:
    """Return the current summary of a run."""
    summary = build_summary(run, measure_progress(store, run), store.run_batches(run))
    return replace(summary, queues=store.api_queue.find_full(run)) if run.state == "running" else summary
