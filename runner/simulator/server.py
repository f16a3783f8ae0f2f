"""HTTP server on loopback with the status codes, fields and error bodies of the Message Batches API."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from runner.pricing.models import load_catalogue
from runner.simulator.batches import MAX_BYTES, OutcomePicker, SimulatedBatches, UsageCallback
from runner.simulator.faults import Faults
from runner.simulator.files import SimulatedFiles
from runner.simulator.messages import InvalidRequest
from runner.simulator.responses import (
    DropConnection,
    ErrorResponse,
    HangConnection,
    Response,
    TrickleConnection,
    error_response,
)
from runner.simulator.routes import Backend, Call, Hook, find_route

_NO_ORGANIZATIONS: Mapping[str, Sequence[str] | Faults] = {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, hook: Hook) -> None:
        super().__init__(("127.0.0.1", port), _RequestHandler)
        self.url, self._hook = f"http://127.0.0.1:{self.server_port}", hook
        self._backends: dict[str | None, Backend] = {}

    def add(self, key: str | None, batches: SimulatedBatches, workspace: str, organization: str) -> None:
        """Add the organization of an API key, or of all other keys."""
        files = SimulatedFiles(batches.folder)
        self._backends[key] = Backend(batches, files, self._hook, self.url, workspace, organization)

    def find(self, key: str | None) -> Backend:
        """Return the organization of an API key."""
        return self._backends.get(key) or self._backends[None]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect: tests kill them on purpose."""


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    @property
    def backend(self) -> Backend:
        """The organization of the key of this call."""
        bearer = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        return self.server.find(self.headers.get("x-api-key") or bearer)

    def do_GET(self) -> None:
        self._handle_call()

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the terminal belongs to the runner's messages."""

    def _handle_call(self) -> None:
        try:
            self._send(self._answer_call())
        except ErrorResponse as error:
            self._send(error_response(error))
        except InvalidRequest as error:
            self._send(error_response(ErrorResponse(400, str(error))))
        except DropConnection:
            self.close_connection = True
        except HangConnection:
            time.sleep(self.backend.batches.faults.delay)
            self.close_connection = True
        except TrickleConnection:
            self._send(Response(self._trickle(), headers={"content-type": "application/json"}, should_close=True))

    def _trickle(self) -> Iterator[bytes]:
        ends_at = time.monotonic() + self.backend.batches.faults.delay
        while time.monotonic() < ends_at:
            yield b" "
            time.sleep(0.1)

    def _answer_call(self) -> Response:
        body, url, backend = self._read_body(), urlsplit(self.path), self.backend
        route, found_id = find_route(self.command, url.path)
        if not (self.headers.get("authorization") or self.headers.get("x-api-key")):
            raise ErrorResponse(401, "x-api-key header is required")
        backend.hook(route.stage)
        backend.batches.faults.raise_due_fault("any", route.stage)
        backend.batches.faults.raise_due_fault(route.stage)
        return route.answer(backend, Call(self.headers, parse_qs(url.query), body, found_id))

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._read_chunks())
        given = self.headers.get("content-length") or "0"
        if not given.isdecimal():
            self.close_connection = True
            raise ErrorResponse(400, f"content-length: {given} is not a length")
        length = int(given)
        if length > MAX_BYTES:
            self.close_connection = True
            raise ErrorResponse(413, f"Request exceeds the maximum size of {MAX_BYTES} bytes")
        body = self.rfile.read(length)
        if len(body) < length:
            raise DropConnection
        return body

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        own = {
            "request-id": f"req_{secrets.token_hex(12)}",
            "anthropic-workspace-id": self.backend.workspace,
            "anthropic-organization-id": self.backend.organization,
        }
        for name, value in {**own, **response.headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        for piece in [response.body] if isinstance(response.body, bytes) else response.body:
            self.wfile.write(piece)
            self.wfile.flush()
        self.close_connection = self.close_connection or response.should_close

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the Date header of a response, by the clock of the batches."""
        batches = self.backend.batches
        shift = (batches.faults.limit("date-ahead") or 0) - (batches.faults.limit("date-behind") or 0)
        now = batches.clock() + shift
        return super().date_time_string(now if timestamp is None else timestamp)


@contextmanager
def serve(
    folder: Path,
    *,
    port: int = 0,
    seconds: float = 1.0,
    pick_outcome: OutcomePicker = lambda _: "succeeded",
    usage: UsageCallback = lambda _, usage: usage,
    hook: Hook = lambda _: None,
    workspace: str = "wrkspc_simulated",
    organization: str = "org_simulated",
    organizations: Mapping[str, Sequence[str] | Faults] = _NO_ORGANIZATIONS,
    faults: Sequence[str] | Faults = (),
    seed: int = 0,
    fault_delay: float = 5.0,
    clock: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Serve the API on 127.0.0.1 until the context ends; yield its base URL.

    Batches are stored in `folder` and take about `seconds` each. Port 0 picks a free port. `pick_outcome`
    chooses the result of each request, and `usage` its token usage. `hook` is called at each stage of each
    call. `workspace` and `organization` are those of the API key. `clock` returns the server's time in Unix
    seconds.

    `organizations` holds the faults of each API key that has an organization of its own, with a folder of its name
    in `folder`, and an id and a workspace that end with it.

    `faults`, `seed` and `fault_delay` are the arguments of `Faults`, which logs to `faults.jsonl` in `folder`.
    `faults` can also be a `Faults` object, which the caller can change later.

    Raises OSError if the port is in use, and ValueError if a fault does not exist.
    """

    def make_batches(folder: Path, faults: Sequence[str] | Faults) -> SimulatedBatches:
        log = folder / "faults.jsonl"
        wanted = faults if isinstance(faults, Faults) else Faults(faults, seed, fault_delay, log)
        return SimulatedBatches(folder, seconds, pick_outcome, usage, clock, wanted)

    load_catalogue()  # first here: msgspec crashes if two threads make the decoder of a type at the same time
    server = _Server(port, hook)
    server.add(None, make_batches(folder, faults), workspace, organization)
    for key, own in organizations.items():
        server.add(key, make_batches(folder / key, own), f"{workspace}_{key}", f"{organization}_{key}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
