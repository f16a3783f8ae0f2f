"""Record API calls, the steps of batches, and runs, while they go on.

Only the process of a command has a recorder, from its first API client on, if its environment names a collector. A
program that uses `runner` as a library has a tracer of its own.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from runner.files.extras import missing_package_message
from runner.spec.redact import redact_passwords

if TYPE_CHECKING:
    from runner.spec.spec import Spec
    from runner.store.records import Batch, Run
    from runner.store.run_batches import RunBatches
    from runner.telemetry.collector import Collector
    from runner.telemetry.recorder import Recorder

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class RunFigures(Protocol):
    """The progress of a run: rows by outcome, and amounts in US dollars."""

    @property
    def state(self) -> str:
        """The state of the run."""

    @property
    def rows(self) -> int:
        """The number of its rows."""

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of rows with each outcome."""

    @property
    def cost(self) -> dict[str, float | None]:
        """Its `actual` and `estimated` cost."""


@dataclass(slots=True)
class _Process:
    """The recorder of this process: none until a command allows it with `warn`, and calls the API."""

    warn: Callable[[str], None] | None = None
    collector: "Collector | None" = None
    recorder: "Recorder | None" = None


_PROCESS = _Process()


def list_signals() -> list[str]:
    """Return the signals, of traces and metrics, for which the environment names a collector."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    return [signal for signal in ("traces", "metrics") if _is_wanted(signal.upper())]


def _is_wanted(signal: str) -> bool:
    exporters = (os.environ.get(f"OTEL_{signal}_EXPORTER") or "otlp").lower().split(",")
    has_address = os.environ.get(_ENDPOINT) or os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return bool(has_address) and "otlp" in map(str.strip, exporters)


def _find_obstacle(signals: Sequence[str]) -> str | None:
    """Return why signals cannot be sent, if that is known before the SDK is imported."""
    for signal in signals:
        names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        name = next(filter(os.environ.get, names), None)
        if name is not None and os.environ[name].strip().lower() == "grpc":
            return f"{name} is grpc: set it to http/protobuf, and the address to a port for HTTP, such as 4318"
    return missing_package_message("otel")


def start_recording() -> bool:
    """Begin to record if this process is a command whose environment names a collector; return whether it does."""
    warn, signals = _PROCESS.warn, list_signals() if _PROCESS.warn is not None else []
    if _PROCESS.recorder is not None or warn is None or not signals:
        return _PROCESS.recorder is not None
    _PROCESS.warn = None  # once, however many clients follow
    if message := _find_obstacle(signals):
        warn(f"warning: {' and '.join(signals)} are not sent: {message}")
        return False
    from runner.telemetry.collector import open_collector
    from runner.telemetry.recorder import Recorder

    try:
        _PROCESS.collector = open_collector(signals)
    except Exception as error:  # noqa: BLE001 - whatever the SDK says about its settings must not stop a run
        why = redact_passwords(" ".join(str(error).split()))
        warn(f"warning: {' and '.join(signals)} are not sent: OpenTelemetry cannot be set up: {why}")
        return False
    _PROCESS.recorder = Recorder(_PROCESS.collector.tracer, _PROCESS.collector.meter)
    return True


@contextmanager
def record_command(warn: Callable[[str], None]) -> Iterator[None]:
    """Let a command record; what it has recorded is sent at its end, which waits only some seconds for that."""
    _PROCESS.warn = warn
    try:
        yield
    finally:
        recorder, collector = _PROCESS.recorder, _PROCESS.collector
        _PROCESS.warn = _PROCESS.recorder = _PROCESS.collector = None
        if recorder is not None and collector is not None:
            recorder.close()
            if fault := collector.close():
                shown = redact_passwords(fault)
                warn(f"warning: the collector did not get all traces and metrics: {shown}")


def trace_call(name: str, url: str, batch_id: str | None = None) -> AbstractContextManager[None]:
    """Record the API call made meanwhile, by its name in the SDK, and the remote batch that it is about."""
    recorder = _PROCESS.recorder
    return nullcontext() if recorder is None else recorder.call(name, url, batch_id)


def trace_step(batches: "RunBatches", batch: "Batch") -> AbstractContextManager[None]:
    """Record the step of a batch taken meanwhile; afterwards, `batches` holds it as it is then."""
    recorder = _PROCESS.recorder
    return nullcontext() if recorder is None else recorder.step(batches, batch)


def trace_plan(spec: "Spec", *, is_simulated: bool) -> AbstractContextManager[None]:
    """Record that a run is planned meanwhile, for which the API counts tokens."""
    recorder = _PROCESS.recorder
    return nullcontext() if recorder is None else recorder.plan(spec, is_simulated=is_simulated)


def trace_run(
    spec: "Spec", run: "Run", measure: Callable[[], RunFigures], *, is_simulated: bool
) -> AbstractContextManager[None]:
    """Record that a run is followed meanwhile; `measure` says how far it is afterwards."""
    recorder = _PROCESS.recorder
    return nullcontext() if recorder is None else recorder.follow(spec, run, measure, is_simulated=is_simulated)
