"""Read the figures of a run, in one pass over its rows and with flat memory."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runner.lifecycle.deliver.failures import UNCONFIRMED_STATES, FailureGroups, cut_answer
from runner.lifecycle.deliver.row_results import RowResult, read_row_results, recorded_output_format
from runner.pricing.rates import rate_for_spec
from runner.report.costs import describe_batch, read_tokens, split_cost
from runner.report.fields import FieldCounter
from runner.report.figures import CacheFigures, FailedRows, Figures, RoundFigures, Sample
from runner.report.totals import NumberTotals
from runner.results.outcome import Outcome
from runner.results.output_format import describe_output
from runner.results.usage import parse_usage
from runner.runs.snapshot import read_snapshot
from runner.runs.summary import FailureGroup, summarize_run
from runner.spec.record import spec_from_record
from runner.spec.spec import Spec
from runner.store.records import Batch, Run
from runner.store.run_folder import open_slices
from runner.store.store import Store

TakeRow = Callable[[RowResult], None]
"""Takes each row of the run while it is counted."""

_MAX_SAMPLES, _MAX_REASONS = 3, 1_000
_EXCERPT_CHARS = 400


@dataclass(slots=True)
class _Totals:
    """The counts of the rows so far."""

    fields: FieldCounter
    rounds: dict[int, Counter[str]] = field(default_factory=dict)
    failures: FailureGroups = field(default_factory=FailureGroups)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    prompts: NumberTotals = field(default_factory=NumberTotals)
    answers: NumberTotals = field(default_factory=NumberTotals)
    at_limit: int = 0
    marked: int = 0
    reading: int = 0

    def add(self, found: RowResult) -> None:
        """Count a row that has an outcome."""
        outcome, batch = found.outcome, found.batch
        if outcome is None:
            return
        number = 0 if batch is None else batch.round
        self.rounds.setdefault(number, Counter())[outcome.outcome] += 1
        if outcome.outcome == "succeeded":
            self.fields.add(outcome.output)
        else:
            self._add_failure(found, outcome)
        if outcome.usage is not None:
            self._add_tokens(outcome, batch)

    def _add_failure(self, found: RowResult, outcome: Outcome) -> None:
        reason = outcome.reason
        self.failures.add(found.key, reason, outcome)
        if reason is None or (reason not in self.samples and len(self.samples) >= _MAX_REASONS):
            return
        kept = self.samples.setdefault(reason, [])
        if len(kept) < _MAX_SAMPLES:
            kept.append(_make_sample(found, outcome))

    def _add_tokens(self, outcome: Outcome, batch: Batch | None) -> None:
        tokens = read_tokens(parse_usage(outcome.usage))
        self.prompts.add(tokens.prompt)
        self.answers.add(tokens.output)
        self.at_limit += outcome.stop_reason == "max_tokens"
        if batch is not None and batch.cache is not None and not batch.is_warmup:
            self.marked += 1
            self.reading += tokens.cache_read > 0


def _make_sample(found: RowResult, outcome: Outcome) -> Sample:
    error = outcome.error or {}
    return Sample(
        key=found.key,
        message=cut_text(error.get("message", "")),
        input=cut_text(bytes(found.fields).decode()),
        answer=cut_answer(outcome, length=_EXCERPT_CHARS) or "",
    )


def cut_text(text: str, length: int = _EXCERPT_CHARS) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def read_recorded_spec(store: Store, run: Run) -> Spec:
    """Return the spec that a run was started with, without the settings that may be edited since."""
    return spec_from_record(read_snapshot(store, run).record, path=Path(), root=Path())


def make_field_counter(spec: Spec) -> FieldCounter:
    """Return a counter of the fields that a spec's outputs have."""
    return FieldCounter(describe_output(spec.output))


def _count_rows(store: Store, run: Run, spec: Spec, take_row: TakeRow) -> _Totals:
    totals = _Totals(make_field_counter(spec))
    if run.purged_at is not None or run.state in UNCONFIRMED_STATES:
        return totals
    output_format = recorded_output_format(store, run)
    with open_slices() as files:
        for found in read_row_results(store, run, output_format, files):
            totals.add(found)
            take_row(found)
    return totals


def collect_figures(store: Store, run: Run, take_row: TakeRow) -> Figures:
    """Return the figures of a run as it stands; `take_row` takes each of its rows in input order.

    Raises StateError if the files of the run are damaged.
    """
    spec, summary, batches = read_recorded_spec(store, run), summarize_run(store, run), store.batches(run)
    totals, rate = _count_rows(store, run, spec, take_row), rate_for_spec(spec, run.cache)
    return Figures(
        summary=summary,
        created_at=run.created_at,
        finished_at=run.finished_at,
        model=str(spec.params["model"]),
        max_tokens=int(spec.params["max_tokens"]),
        answered=totals.answers.count,
        stopped_at_limit=totals.at_limit,
        rounds=_describe_rounds(batches, totals.rounds),
        failures=_describe_failures(totals),
        fields=totals.fields.figures(),
        batches=[describe_batch(batch) for batch in batches],
        kinds=split_cost(batches, None if rate is None else rate.price),
        prompt_tokens=totals.prompts.spread(),
        output_tokens=totals.answers.spread(),
        cache=CacheFigures(totals.marked, totals.reading),
        is_purged=run.purged_at is not None,
        scores=summary.evaluation or (),
    )


def _describe_failures(totals: _Totals) -> list[FailedRows]:
    return [_describe_group(group, totals.samples) for group in totals.failures.largest_first()]


def _describe_group(group: FailureGroup, samples: dict[str, list[Sample]]) -> FailedRows:
    return FailedRows(group.outcome, group.reason, group.rows, samples.get(group.reason, []))


def _describe_rounds(batches: list[Batch], outcomes: dict[int, Counter[str]]) -> list[RoundFigures]:
    requests: Counter[int] = Counter()
    for batch in batches:
        requests[batch.round] += batch.requests
    return [_describe_round(number, requests, outcomes) for number in sorted({*requests, *outcomes})]


def _describe_round(number: int, requests: Counter[int], outcomes: dict[int, Counter[str]]) -> RoundFigures:
    # Each row that is sent again is one of the requests of the next round.
    again = requests[number + 1] if number else 0
    return RoundFigures(number, requests[number], dict(outcomes.get(number, {})), again)
