"""A collector that is absent, down, slow or refusing never fails a run, and is named in one line."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.servers import webhook
from tests.support.simulator import simulator
from tests.telemetry.collector import Collector, collector

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
FAULT = "warning: the collector did not get all traces and metrics: "


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A project, and the environment of its simulator."""
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        yield tmp_path, environ


@pytest.fixture
def found() -> Iterator[Collector]:
    with collector() as one:
        yield one


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if "warning" in line]


def test_hanging_collector_does_not_hold_a_run(project: tuple[Path, dict[str, str]], found: Collector) -> None:
    root, environ = project
    found.is_hanging.set()  # until the test ends
    ended = command(root, {**environ, ENDPOINT: found.url}, *RUN)
    assert (ended.returncode, warnings(ended.stderr)) == (0, [f"{FAULT}it did not answer in 3 s"])


def test_collector_that_is_down_is_named_once(project: tuple[Path, dict[str, str]]) -> None:
    root, environ = project
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    ended = command(root, {**environ, ENDPOINT: url}, *RUN)
    [line] = warnings(ended.stderr)
    assert ended.returncode == 0 and line.startswith(FAULT)
    assert "Traceback" not in ended.stderr and "Transient" not in ended.stderr


def test_collector_that_refuses_is_named_once(project: tuple[Path, dict[str, str]], found: Collector) -> None:
    root, environ = project
    found.status = 403
    ended = command(root, {**environ, ENDPOINT: found.url}, *RUN)
    [line] = warnings(ended.stderr)
    assert ended.returncode == 0 and line.startswith(FAULT) and "403" in line


def test_wrong_setting_of_the_sdk_does_not_stop_a_run(project: tuple[Path, dict[str, str]]) -> None:
    root, environ = project
    wrong = {ENDPOINT: "http://127.0.0.1:9", "OTEL_METRIC_EXPORT_INTERVAL": "0"}
    ended = command(root, {**environ, **wrong}, *RUN)
    [line] = warnings(ended.stderr)
    assert ended.returncode == 0 and "OpenTelemetry cannot be set up" in line


def test_protocol_that_is_not_spoken_is_named(project: tuple[Path, dict[str, str]], found: Collector) -> None:
    root, environ = project
    names = {ENDPOINT: found.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    ended = command(root, {**environ, **names}, *RUN)
    [line] = warnings(ended.stderr)
    assert ended.returncode == 0 and "OTEL_EXPORTER_OTLP_PROTOCOL is grpc: set it to http/protobuf" in line
    names["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    names["OTEL_METRICS_EXPORTER"] = "none"
    assert not warnings(command(root, {**environ, **names}, *RUN, "--new").stderr)
    assert {path for path, _ in found.bodies} == {"/v1/traces"}


def test_password_of_a_collector_is_not_printed(project: tuple[Path, dict[str, str]]) -> None:
    root, environ = project
    ended = command(root, {**environ, ENDPOINT: "http://me:hunter2@127.0.0.1:9:9"}, *RUN)
    [line] = warnings(ended.stderr)
    assert ended.returncode == 0 and "hunter2" not in ended.stderr, line


def hide_sdk() -> None:
    """Let this process find the API of OpenTelemetry, which anthropic needs, but not its SDK."""
    sys.modules["opentelemetry.sdk"] = None  # type: ignore[assignment]


def test_absent_package_is_named_with_its_command(project: tuple[Path, dict[str, str]]) -> None:
    root, environ = project
    ended = command(root, {**environ, ENDPOINT: "http://127.0.0.1:9"}, *RUN, before=hide_sdk)
    [line] = warnings(ended.stderr)
    assert ended.returncode == 0
    assert line.startswith("warning: traces and metrics are not sent: opentelemetry.sdk is not installed: pip ")
    assert line.endswith("[otel]'")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ({ENDPOINT: "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{url}/v1/traces"}, {"/v1/traces"}),
        ({ENDPOINT: "", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "{url}/v1/metrics"}, {"/v1/metrics"}),
        ({"OTEL_METRICS_EXPORTER": "none"}, {"/v1/traces"}),
        ({"OTEL_METRICS_EXPORTER": "console"}, {"/v1/traces"}),
        ({"OTEL_METRICS_EXPORTER": "", "OTEL_TRACES_EXPORTER": "None"}, {"/v1/metrics"}),
        ({"OTEL_METRICS_EXPORTER": "console, otlp"}, {"/v1/traces", "/v1/metrics"}),
        ({"OTEL_SDK_DISABLED": "true"}, set()),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, {"/v1/metrics"}),
    ],
)
def test_environment_chooses_what_is_sent(
    project: tuple[Path, dict[str, str]], found: Collector, names: dict[str, str], wanted: set[str]
) -> None:
    root, environ = project
    chosen = {name: value.format(url=found.url) for name, value in names.items()}
    ended = command(root, {**environ, ENDPOINT: found.url, **chosen}, *RUN)
    assert (ended.returncode, warnings(ended.stderr)) == (0, [])
    assert {path for path, _ in found.bodies} == wanted


def test_service_has_the_name_of_the_environment(project: tuple[Path, dict[str, str]], found: Collector) -> None:
    root, environ = project
    assert command(root, {**environ, ENDPOINT: found.url, "OTEL_SERVICE_NAME": "tags"}, *RUN).returncode == 0
    assert {one["service.name"] for one in found.resources()} == {"tags"}


def test_calls_carry_no_trace_headers(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ, webhook() as api:
        api.status = 401
        names = {"ANTHROPIC_BASE_URL": api.url, ENDPOINT: found.url}
        assert command(tmp_path, {**environ, **names}, *RUN).returncode == 7
    assert api.got
    assert not any({"traceparent", "tracestate", "baggage"} & set(one.headers) for one in api.got)
