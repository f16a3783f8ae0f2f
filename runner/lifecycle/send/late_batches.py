"""Compare waiting for late batches with sending their rows synchronously, by time and cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runner.api.client import Api
from runner.lifecycle.plan.output_tokens import expected_output_tokens
from runner.lifecycle.plan.speed import (
    LONGEST_BATCH_SECONDS,
    Speed,
    describe_span,
    estimate_sync_seconds,
    measure_speed,
)
from runner.pricing.models import load_catalogue
from runner.pricing.rates import round_up_cost
from runner.runs.context import RunContext
from runner.runs.shared_cap import find_other_runs_under_cap
from runner.runs.snapshot import read_snapshot
from runner.store.records import Batch
from runner.text import pluralize


@dataclass(frozen=True, slots=True)
class LateBatches:
    """The batches that have not ended at the deadline of a run.

    `wait_seconds` is the expected time until they have ended. `sync_seconds` and `sync_cost` are expected if their
    requests are sent synchronously: seconds, and US dollars or None. `budget` is what the run may still spend on
    them.
    """

    requests: int
    wait_seconds: float
    sync_seconds: float
    sync_cost: float | None
    budget: float

    @property
    def reason_to_wait(self) -> str | None:
        """The reason not to send their rows synchronously, or None if there is none."""
        if self.sync_seconds > self.wait_seconds:
            took = describe_span(self.sync_seconds)
            return f"would take about {took}, longer than the batches are expected to take"
        if self.sync_cost is not None and self.sync_cost > self.budget:
            left = max(self.budget, 0.0)
            return (
                f"would cost about ${round_up_cost(self.sync_cost):,.4f}, and ${left:,.4f} is left under "
                "limits.max_cost"
            )
        return None

    def __str__(self) -> str:
        cost = "" if self.sync_cost is None else f" and ${round_up_cost(self.sync_cost):,.4f}"
        return f"{pluralize(self.requests, 'request')}, about {describe_span(self.sync_seconds)}{cost}"


def examine_late_batches(context: RunContext, api: Api) -> LateBatches | None:
    """Return the batches of a run that have not ended, or None if there are none."""
    store, run, spec = context.store, context.run, context.spec
    batches = store.batches(run)
    late = [one for one in batches if one.send_mode == "batch" and one.state not in ("ended", "collected")]
    if not late:
        return None
    requests, largest = sum(one.requests for one in late), max(one.requests for one in late)
    output = expected_output_tokens(read_snapshot(store, run), store, store.runs(run.spec))
    speed = measure_speed(store, run, requests=largest, output_tokens=output.mean, base_url=api.base_url)
    spent = sum((one.cost or 0.0) + one.doubted_cost for one in batches)
    spent += sum(store.run_batches(one).committed_cost for one in find_other_runs_under_cap(store, spec, run))
    return LateBatches(
        requests=requests,
        wait_seconds=max(_wait_seconds(one, speed, api.now) for one in late),
        sync_seconds=estimate_sync_seconds(spec, requests, speed.request_seconds),
        sync_cost=_sync_cost(context, batches, requests),
        budget=math.inf if spec.limits.max_cost is None else spec.limits.max_cost - spent,
    )


def _wait_seconds(batch: Batch, speed: Speed, now: float) -> float:
    """Return the expected seconds until a batch has ended.

    One that takes longer than expected is expected to take as long again, but not beyond the API's 24 hours.
    Nothing is known about one that passed these.
    """
    began = batch.created_at or batch.intent_at
    if began is None:
        return speed.batch_seconds
    age = now - began
    left = LONGEST_BATCH_SECONDS - age
    return math.inf if left <= 0 else min(left, max(speed.batch_seconds - age, age))


def _sync_cost(context: RunContext, batches: Sequence[Batch], requests: int) -> float | None:
    """Return the expected cost of sending requests synchronously, from the estimate for the whole run."""
    estimated, total = context.run.estimated_cost, sum(one.requests for one in batches if one.round == 1)
    if estimated is None or not total:
        return None
    return estimated * requests / total / (load_catalogue().batch if context.run.mode == "batch" else 1.0)
