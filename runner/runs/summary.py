"""The public summary of a run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from runner.errors import StateError
from runner.results.outcome import OUTCOMES
from runner.results.usage import Usage
from runner.runs.project import is_simulated_state
from runner.store.records import Batch, Run
from runner.store.store import Store

T = TypeVar("T")


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
    `batches` holds {id, state, requests} of each batch, and its `mode` if it is sent synchronously. If some lines
    of its results were unusable, `ignored_lines` counts them by kind. `missing_results` counts the rows that the
    API counted, and which are paid, but for which it never had a result. If it was sent again after a create that
    may have been accepted, `doubted_cost` is the most that it may cost besides, and `round` and `batch` name it.
    `sinks` holds {type, path, rows} of each output once written, `instead_of` if it is beside a complete one, and
    `cut`, which counts by column the cells that hold only a part of their text, if there are any.
    `usage` holds the tokens of all responses, under the API's names.
    `cost` is in US dollars: `estimated` when the run was confirmed, `actual` so far, `synchronous` if everything
    had been sent synchronously, and `saved`. An amount is None if no price is known. If the usage of some answers
    could not be read, these amounts are None, `max` is the most that the run can have cost, and `unreadable_usage`
    counts those answers by field.
    `failures` groups the failed rows by reason, the most frequent first. It is None if they were not read: of a
    run that goes on, in a list of runs, or after a purge.
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

    @property
    def exit_code(self) -> int:
        """Exit code: 0 if all rows succeeded, 3 if rows failed or have contradicting results, 4 if unfinished."""
        if self.state != "finished":
            return 4
        has_contradiction = any("contradicting" in batch.get("ignored_lines", {}) for batch in self.batches)
        return 0 if self.outcomes.get("succeeded", 0) == self.rows and not has_contradiction else 3


def _describe_batch(batch: Batch) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": batch.batch_id, "state": batch.state, "requests": batch.requests}
    if batch.send_mode != "batch":
        shown["mode"] = batch.send_mode
    if batch.missing_results:
        shown["missing_results"] = batch.missing_results
    if batch.doubted_cost:
        doubted = round(batch.doubted_cost, 6)
        shown |= {"round": batch.round, "batch": batch.batch, "doubted_cost": doubted}
    ignored = decode_column(batch.ignored_lines, dict[str, int])
    return {**shown, "ignored_lines": ignored} if ignored else shown


def decode_column(text: str, kind: type[T]) -> T:
    """Decode a value that is stored as JSON in the database. Raises StateError if it is damaged."""
    try:
        return msgspec.json.decode(text, type=kind)
    except ValueError as error:
        raise StateError(f"the database contains a damaged value, {text[:40]!r}: {error}") from error


_TOKEN_FIELDS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _summarize_cost(run: Run, batches: Sequence[Batch], *, is_unclear: bool) -> dict[str, float | None]:
    paid = [batch for batch in batches if batch.cost is not None]
    actual = sum(batch.cost or 0 for batch in paid) if paid else None
    synchronous = sum(batch.synchronous_cost or 0 for batch in paid) if paid else None
    saved = None if actual is None or synchronous is None else synchronous - actual
    amounts = {"estimated": run.estimated_cost, "actual": actual, "at_sync_price": synchronous, "saved": saved}
    if is_unclear:
        amounts = {
            "estimated": run.estimated_cost,
            "actual": None,
            "at_sync_price": None,
            "saved": None,
            "max": actual,
        }
    return {name: None if dollars is None else round(dollars, 6) for name, dollars in amounts.items()}


def summarize_run(store: Store, run: Run) -> Summary:
    """Return the current summary of a run."""
    batches = store.batches(run)
    usage = Usage()
    for batch in batches:
        usage.add(decode_column(batch.usage, Usage))
    counts = store.row_index.outcome_counts(run)
    return Summary(
        run=run.id,
        spec=run.spec,
        state="canceling" if run.is_canceled and run.state == "running" else run.state,
        rows=run.rows,
        outcomes={name: counts[name] for name in OUTCOMES if name in counts},
        batches=[_describe_batch(batch) for batch in batches],
        sinks=decode_column(run.sinks, list[dict[str, Any]]),
        usage={name: getattr(usage, name) or 0 for name in _TOKEN_FIELDS},
        cost=_summarize_cost(run, batches, is_unclear=bool(usage.unreadable)),
        seconds=round((run.finished_at or time.time()) - run.created_at, 3),
        unreadable_usage=usage.unreadable,
        is_simulated=is_simulated_state(store.path),
    )
