"""Spans and metrics of runs: the run is the root, its batches are below it, and the calls about each below that.

All that is known of a run is recorded by the thread that follows it, one run at a time; calls may be made by other
threads, so a call finds its batch by its remote id, or it belongs to the batch whose step is being taken.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from runner.errors import RunnerError
from runner.spec.spec import Spec
from runner.store.records import Batch, Run
from runner.store.run_batches import IN_FLIGHT, BatchKey, RunBatches, key_of
from runner.telemetry.attributes import (
    Attributes,
    describe_batch,
    describe_call,
    describe_figures,
    describe_run,
    describe_spec,
    list_tokens,
)
from runner.telemetry.trace import RunFigures

# The boundaries that the conventions name, and more of them, since a point is the sum of a batch.
_TOKEN_BOUNDARIES = [4**power for power in range(18)]

_SENDING_CALLS = ("messages.batches.create", "messages.create")


@dataclass(slots=True)
class _OpenRun:
    """A run that this process follows, with the spans of its batches that have not ended."""

    span: Span
    run: Run
    shared: Attributes
    batches: dict[BatchKey, Span] = field(default_factory=dict)
    error: str | None = None
    left_at: int | None = None

    def end(self) -> None:
        for span in self.batches.values():
            span.end(self.left_at)
        if self.error is not None:
            self.span.set_attribute("error.type", self.error)
            self.span.set_status(StatusCode.ERROR)
        self.span.end(self.left_at)


class Recorder:
    """Records runs with a tracer and a meter."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of each collected batch",
            explicit_bucket_boundaries_advisory=_TOKEN_BOUNDARIES,
        )
        self._cost = meter.create_counter("runner.cost", unit="{USD}", description="Cost of collected batches")
        self._runs: dict[str, _OpenRun] = {}
        self._remote: dict[str, Span] = {}
        self._current: _OpenRun | None = None
        self._planning: Span | None = None
        self._batch: Batch | None = None

    @contextmanager
    def plan(self, spec: Spec, *, is_simulated: bool) -> Iterator[None]:
        """Record the plan of a run. It is a root of its own: a person may think long before the run begins."""
        shared = {**describe_spec(spec, is_simulated=is_simulated), "gen_ai.operation.name": "plan"}
        self._planning = self._start_span(f"plan {spec.name}", None, shared)
        try:
            yield
        finally:
            self._planning.end()
            self._planning = None

    @contextmanager
    def follow(
        self, spec: Spec, run: Run, measure: Callable[[], RunFigures], *, is_simulated: bool
    ) -> Iterator[None]:
        """Record a run; its span ends with the command, because its command may follow it several times."""
        shared = describe_spec(spec, is_simulated=is_simulated)
        if (found := self._runs.get(run.id)) is None:
            span = self._start_span(f"invoke_workflow {spec.name}", None, {**shared, **describe_run(run)})
            found = self._runs[run.id] = _OpenRun(span, run, shared)
        self._current, found.error = found, None
        try:
            yield
        except Exception as error:
            found.error = type(error).__name__
            raise
        finally:
            self._current, found.left_at = None, time.time_ns()
            with suppress(RunnerError):  # of a damaged state, which others report
                found.span.set_attributes(describe_figures(measure()))

    @contextmanager
    def step(self, batches: RunBatches, batch: Batch) -> Iterator[None]:
        """Record a step of a batch. A batch that an earlier process has sent begins with its first step here."""
        self._batch = batch
        if batch.state in IN_FLIGHT:
            self._open_batch(batch, is_resumed=True)
        try:
            yield
        finally:
            self._batch = None
            with suppress(RunnerError):
                self._update(key_of(batch), batches.get(key_of(batch)))

    @contextmanager
    def call(self, name: str, url: str, batch_id: str | None) -> Iterator[None]:
        """Record an API call. The first call that sends a batch begins the span of the batch."""
        attributes, parent = describe_call(name, url, batch_id), self._find_parent(name, batch_id)
        span = self._start_span(f"anthropic.{name}", parent, attributes, SpanKind.CLIENT)
        try:
            yield
        except Exception as error:
            # Only its kind: a message may quote a prompt.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            status = getattr(error.__cause__, "status_code", None)
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """End the spans of all runs, and of the batches that have not ended: this process sees no more of them."""
        for run in self._runs.values():
            run.end()

    def _start_span(
        self, name: str, parent: Span | None, attributes: Attributes, kind: SpanKind = SpanKind.INTERNAL
    ) -> Span:
        context = Context() if parent is None else set_span_in_context(parent, Context())
        return self._tracer.start_span(name, context, kind, attributes)

    def _find_parent(self, name: str, batch_id: str | None) -> Span | None:
        if batch_id is not None and batch_id in self._remote:
            return self._remote[batch_id]
        run, batch = self._current, self._batch
        if run is not None and batch is not None:
            if name in _SENDING_CALLS:
                return self._open_batch(batch, is_resumed=False)
            return run.batches.get(key_of(batch), run.span)
        return self._planning if run is None else run.span

    def _open_batch(self, batch: Batch, *, is_resumed: bool) -> Span | None:
        run, key = self._current, key_of(batch)
        if run is None or key in run.batches:
            return None if run is None else run.batches[key]
        attributes = {**run.shared, "runner.run.id": run.run.id, "runner.batch.resumed": is_resumed}
        span = self._start_span(
            f"chat {run.shared['gen_ai.request.model']}", run.span, attributes, SpanKind.CLIENT
        )
        # Several threads may send the first messages of a batch: a span that never ends is never sent.
        span = run.batches.setdefault(key, span)
        span.set_attributes(describe_batch(batch))
        if batch.batch_id is not None:
            self._remote[batch.batch_id] = span
        return span

    def _update(self, key: BatchKey, batch: Batch | None) -> None:
        """Note what has become of a batch after a step; it is None if its rows are now those of other batches."""
        run = self._current
        if run is None or (span := run.batches.get(key)) is None:
            return
        if batch is not None:
            span.set_attributes(describe_batch(batch))
            if batch.batch_id is not None:
                self._remote[batch.batch_id] = span
            if batch.state == "collected":
                self._count(run.shared, span, batch)
        if batch is None or batch.state not in IN_FLIGHT:
            run.batches.pop(key).end()
            self._remote = {name: one for name, one in self._remote.items() if one is not span}

    def _count(self, shared: Attributes, span: Span, batch: Batch) -> None:
        tokens = list_tokens(batch)
        span.set_attributes({f"gen_ai.usage.{name}_tokens": count for name, count in tokens.items()})
        for kind in ("input", "output"):
            self._tokens.record(tokens[kind], {**shared, "gen_ai.token.type": kind})
        if batch.cost is not None:
            self._cost.add(batch.cost, shared)
