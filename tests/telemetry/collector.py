"""A collector of OpenTelemetry on loopback: it takes OTLP over HTTP, and can hang."""

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.servers import Receiver, receiving


@dataclass(frozen=True)
class Sent:
    """A span as it was received. Ids are hexadecimal, and times nanoseconds; a root has the parent ''."""

    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    kind: int
    is_error: bool
    attributes: dict[str, Any]


class Collector(Receiver):
    """A receiver of traces and metrics."""

    @property
    def bodies(self) -> list[tuple[str, bytes]]:
        """The bodies with their paths."""
        return [
            (one.path, gzip.decompress(one.body) if one.headers.get("content-encoding") == "gzip" else one.body)
            for one in list(self.got)
        ]

    def resources(self) -> list[dict[str, Any]]:
        """The resources of all bodies."""
        return [_values(one.resource.attributes) for one in self._spans() + self._metrics()]

    def spans(self) -> list[Sent]:
        """The spans of all bodies."""
        return [_read(span) for one in self._spans() for scope in one.scope_spans for span in scope.spans]

    def named(self, *names: str) -> list[Sent]:
        """The spans with one of these names, by their starts."""
        return sorted((one for one in self.spans() if one.name in names), key=lambda one: one.start)

    def points(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        """The last sum of each series of a metric, with its attributes."""
        found = dict[str, tuple[float, dict[str, Any]]]()
        for one in self._metrics():
            for metric in (each for scope in one.scope_metrics for each in scope.metrics if each.name == name):
                for point in metric.histogram.data_points or metric.sum.data_points:
                    attributes = _values(point.attributes)
                    value = point.sum if metric.HasField("histogram") else point.as_double
                    found[f"{point.start_time_unix_nano} {sorted(attributes.items())}"] = value, attributes
        return list(found.values())

    def _spans(self) -> list[Any]:
        return self._parse("/v1/traces", ExportTraceServiceRequest, "resource_spans")

    def _metrics(self) -> list[Any]:
        return self._parse("/v1/metrics", ExportMetricsServiceRequest, "resource_metrics")

    def _parse(self, path: str, kind: Any, name: str) -> list[Any]:
        bodies = [body for where, body in self.bodies if where == path]
        return [one for body in bodies for one in getattr(kind.FromString(body), name)]


def _values(attributes: Sequence[Any]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _read(span: Any) -> Sent:
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    times = (span.start_time_unix_nano, span.end_time_unix_nano)
    return Sent(span.name, *ids, *times, span.kind, span.status.code == 2, _values(span.attributes))


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on loopback; what it received can be read after it has ended."""
    found = Collector(status=200)
    with receiving(found):
        yield found
