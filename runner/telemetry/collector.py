"""The way to a collector: exporters of the OpenTelemetry SDK, which read their own settings from the environment.

A collector that is down or hangs costs the end of a command `_FLUSH_SECONDS` at most, and nothing before.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracerProvider, Tracer

_FLUSH_SECONDS = 3.0
"""The longest time that the end of a command waits for a collector."""

_SCOPE = "runner"


class _Faults(logging.Handler):
    """Keeps the first error that the SDK logs, which would print it in the midst of the progress of a run."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or " ".join(record.getMessage().split())[:300]


@dataclass(slots=True)
class Collector:
    """A tracer and a meter whose spans and figures are sent in the background; `close` sends the rest."""

    tracer: Tracer
    meter: Meter
    _faults: _Faults
    _shutdowns: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> str | None:
        """Send what is left, in the time there is for that; return why not all was sent, or None."""
        threads = [Thread(target=shutdown, daemon=True) for shutdown in self._shutdowns]
        for thread in threads:
            thread.start()
        until = time.monotonic() + _FLUSH_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            return self._faults.first or f"it did not answer in {_FLUSH_SECONDS:.0f} s"
        return self._faults.first


def _catch_faults() -> _Faults:
    faults, logger = _Faults(), logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [faults], False
    return faults


def _describe_service() -> Resource:
    """Return the resource that the environment describes, named `runner` if it has no name there."""
    found = Resource({SERVICE_VERSION: version("message-batch-runner")}).merge(Resource.create())
    if str(found.attributes.get(SERVICE_NAME)).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "runner"}))
    return found


def open_collector(signals: Sequence[str]) -> Collector:
    """Begin to send signals, of traces and metrics, as the environment says.

    No provider becomes the global one, with which the SDK of the API would make a second span for each call, and
    send trace headers. None is shut down by Python's own exit, which would wait for the collector without a bound.
    """
    faults, resource, shutdowns = _catch_faults(), _describe_service(), list[Callable[[], None]]()
    tracer, meter = NoOpTracerProvider().get_tracer(_SCOPE), NoOpMeterProvider().get_meter(_SCOPE)
    if "traces" in signals:
        traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        tracer = traces.get_tracer(_SCOPE)
        shutdowns.append(traces.shutdown)
    if "metrics" in signals:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter = metrics.get_meter(_SCOPE)
        shutdowns.append(metrics.shutdown)
    return Collector(tracer, meter, faults, shutdowns)
