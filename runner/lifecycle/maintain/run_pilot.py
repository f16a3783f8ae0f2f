"""Run a pilot: a sample of the rows of a job, which shows what the whole will cost and if its answers are good."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import copysign, inf, sqrt
from statistics import fmean, stdev
from threading import Event
from typing import Generic, TypeVar

import msgspec

from runner.errors import UsageError
from runner.lifecycle.deliver.row_results import read_row_results, recorded_output_format
from runner.lifecycle.diff.diff import Diff, diff_runs
from runner.lifecycle.plan.consent import Consent
from runner.lifecycle.plan.send_mode import choose_send_mode
from runner.lifecycle.plan.speed import measure_speed
from runner.lifecycle.plan.ways import WAY_NAMES, Workload, list_ways
from runner.lifecycle.prepare.cached_prefix import find_cached_prefix
from runner.lifecycle.run import run as run_spec
from runner.lifecycle.run_options import RunOptions
from runner.lifecycle.validate.checked_spec import check_spec
from runner.pricing.models import load_catalogue
from runner.pricing.rates import Rate, rate_for_spec
from runner.results.usage import Usage, parse_usage
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.find import RunInfo, find_runs_of, open_run
from runner.runs.snapshot import read_snapshot
from runner.runs.summary import Summary
from runner.spec.pilot import make_pilot_spec
from runner.spec.spec import Pilot, Spec
from runner.store.records import Run
from runner.store.run_folder import open_slices
from runner.store.store import Store
from runner.templates.load import load_templates

# Quantile of the normal distribution for an interval of 99 %.
_QUANTILE = 2.576
_NEGLIGIBLE_SKEWNESS = 1e-6

AnySummary = TypeVar("AnySummary", bound=Summary)
"""A Summary, or in Python a Result."""


@dataclass(frozen=True, slots=True)
class CostRange:
    """The cost of a whole job in US dollars: expected, and the limits between which it very likely lies.

    It is that of an answer to each row, also to those whose answers a run takes over, without a prompt cache.
    `with_cache` is the expected cost if a cache is warmed, and None if the job does not warm one.
    """

    expected: float
    low: float
    high: float
    with_cache: float | None = None


@dataclass(frozen=True, slots=True)
class PilotResult(Generic[AnySummary]):
    """A pilot: its summary, the number of rows from which its own were drawn, and what the whole job will cost.

    `cost` is None if no price is known, or fewer than two answers. `diff` compares it with the last finished run
    or pilot of the job, and is None without one, or if rows have no key. `values` counts the rows of the sample by
    their value of the column that shares them out, the most frequent first; it is None without such a column. All
    are None while the pilot is unfinished, or if it was purged.
    """

    summary: AnySummary
    selected_rows: int | None
    cost: CostRange | None
    diff: Diff | None
    values: dict[str, int] | None = None


def run_pilot(
    spec: Spec,
    pilot: Pilot,
    options: RunOptions,
    *,
    is_sync: bool = False,
    consent: Consent = False,
    report: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> PilotResult[Summary]:
    """Send a sample of the rows of a spec, or resume that; `is_sync` sends it at once.

    Its outputs are beside those of the job, and tables are not written. A run of the whole job takes over its
    answers. The other arguments are those of `run`. Raises RunnerError.
    """
    # What is wrong with the whole job is found before the sample is paid.
    check_spec(spec, simulate=options.simulate, resume=False)
    made = make_pilot_spec(spec, pilot, is_sync=is_sync)
    return describe_pilot(spec, pilot, run_spec(made, options, consent=consent, report=report, stop=stop))


def describe_pilot(spec: Spec, pilot: Pilot, summary: Summary) -> PilotResult[Summary]:
    """Return what the pilot with this summary says of the whole job of a spec."""
    if summary.state != "finished":
        return PilotResult(summary, None, None, None)
    runs = find_runs_of(spec.root, spec.name)
    info = next(one for one in runs if one.summary.run == summary.run)
    with open_run(info, lock=False) as (store, run):
        if run.purged_at is not None:
            return PilotResult(summary, None, None, None)
        rows = read_snapshot(store, run).selected_rows
        cost = estimate_whole(store, run, spec, rows or run.rows)
        values = None if pilot.by is None else _count_values(store, run, pilot.by)
    return PilotResult(summary, rows, cost, _compare_with_last(spec, info, runs), values)


def _count_values(store: Store, run: Run, column: str) -> dict[str, int]:
    """Return how many rows of a pilot have each value of a column, the most frequent first."""
    with store.folder(run).rows.open("rb") as lines:
        values = [msgspec.json.decode(line)["row"][column] for line in lines]
    texts = (one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in values)
    return dict(Counter(texts).most_common())


def estimate_whole(store: Store, run: Run, spec: Spec, rows: int) -> CostRange | None:
    """Return the cost of a job of so many rows, from the answers of its finished pilot."""
    rate = rate_for_spec(spec)
    is_batched = rate is not None and _is_batched(store, run, spec, rate, rows)
    costs = [] if rate is None else _list_costs(store, run, rate, is_batched=is_batched)
    # A single answer says nothing about how much they differ.
    if rate is None or not any(costs) or len(costs) == 1 < rows:
        return None
    found = _extrapolate(costs, rows)
    saving = _estimate_saving(store, run, spec, rate, rows) if is_batched else None
    return found if saving is None else replace(found, with_cache=found.expected - saving)


def _is_batched(store: Store, run: Run, spec: Spec, rate: Rate, rows: int) -> bool:
    """Return whether a job of so many rows sends those that its pilot has not in batches."""
    if spec.mode != "auto":
        return spec.mode == "batch"
    left = max(rows - run.rows, 0)
    tokens = store.run_batches(run).totals.usage.output_tokens or 0
    batched, full = (fmean(_list_costs(store, run, rate, is_batched=one) or [0.0]) for one in (True, False))
    costs = {way: left * (full if way == "sync" else batched) for way in WAY_NAMES}
    speed = measure_speed(store, run, requests=left, output_tokens=tokens / max(run.rows, 1))
    cap = inf if spec.limits.max_cost is None else spec.limits.max_cost
    budget = cap - store.run_batches(run).committed_cost
    work = Workload(spec, left, speed, store.row_index.largest_request_bytes(run), budget=budget)
    return choose_send_mode(work, list_ways(work, costs))[0] == "batch"


def _estimate_saving(store: Store, run: Run, spec: Spec, rate: Rate, rows: int) -> float | None:
    """Return what a cache saves that one row writes and all others read; None if the job warms none."""
    prefix, sent = find_cached_prefix(load_templates(spec)), sum(store.row_index.request_sizes(run))
    if prefix.ttl is None or rows < prefix.fewest or not sent:
        return None
    usage = store.run_batches(run).totals.usage
    counts = (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens)
    tokens = prefix.bytes * sum(count or 0 for count in counts) / sent
    price, dollars = rate.price, tokens * load_catalogue().batch / 1_000_000
    return dollars * ((rows - 1) * (price.input - price.read) - (price.write_1h - price.input))


def _list_costs(store: Store, run: Run, rate: Rate, *, is_batched: bool) -> list[float]:
    """Return the cost of the answer to each row of a pilot, with its share of what was sent more than once."""
    found, sent = list[float](), 0.0
    with open_slices() as files:
        output_format = recorded_output_format(store, run)
        for one in read_row_results(store, run, output_format, files):
            answered = one.outcome is not None and one.outcome.usage is not None
            usage = parse_usage(one.outcome.usage) if answered and one.outcome is not None else Usage()
            full = rate.synchronous_cost(usage)
            sent += full if one.batch is not None else 0.0
            full += rate.cache_saving(usage)
            found.append(rate.apply_batch_discount(full, usage) if is_batched else full)
    paid = store.run_batches(run).totals.synchronous_cost or 0.0
    factor = paid / sent if sent and paid > sent else 1.0
    return [cost * factor for cost in found]


def _extrapolate(costs: Sequence[float], rows: int) -> CostRange:
    """Return the cost of so many rows, of which these were drawn by chance."""
    count, rest = len(costs), max(rows - len(costs), 0)
    mean, deviation = fmean(costs), stdev(costs) if len(costs) > 1 else 0.0
    expected = sum(costs) + rest * mean
    if not deviation or not rest:
        return CostRange(expected, expected, expected)
    # The quantile of Student's distribution, by its expansion for large samples.
    quantile = _QUANTILE + (_QUANTILE**3 + _QUANTILE) / (4 * (count - 1))
    error = quantile * sqrt(rows / (count * rest))
    skewness = fmean([(cost - mean) ** 3 for cost in costs]) / deviation**3
    below, above = (_correct_skewness(one, skewness, count) for one in (error, -error))
    low, high = (expected - rest * deviation * shift for shift in (below, above))
    return CostRange(expected, max(low, sum(costs)), high)


def _correct_skewness(error: float, skewness: float, count: int) -> float:
    """Return an error of a mean, in standard deviations, for a skewed sample (Hall, 1992).

    A few long answers can make most of a bill: without this, its upper limit is too low.
    """
    if abs(skewness) < _NEGLIGIBLE_SKEWNESS:
        return error
    cube = 1 + skewness * (error - skewness / (6 * count))
    return 3 / skewness * (copysign(abs(cube) ** (1 / 3), cube) - 1)


def _compare_with_last(spec: Spec, pilot: RunInfo, runs: Sequence[RunInfo]) -> Diff | None:
    """Compare a pilot with the last finished run or pilot of its job; return None without one."""
    last = (
        one
        for one in runs
        if one.summary.state == "finished"
        and one.summary.run != pilot.summary.run
        and one.is_simulated == pilot.is_simulated
    )
    before = next(last, None)
    if before is None or spec.source.key is None:
        return None
    try:
        return diff_runs(before, pilot)
    except UsageError:
        # It was purged, or has other keys.
        return None
