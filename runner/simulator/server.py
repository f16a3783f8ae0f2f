"""HTTP server on loopback with the status codes, fields and error bodies of the Message Batches API."""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from runner.simulator.batches import (
    MAX_BYTES,
    OutcomePicker,
    SimulatedBatches,
    UsageCallback,
    foreign_requests,
    parse_create,
)
from runner.simulator.faults import Download, DropConnection, ErrorResponse, Faults, HangConnection
from runner.simulator.files import SimulatedFiles
from runner.simulator.messages import API_VERSION, InvalidRequest, count_tokens

_BLOCK_BYTES = 1 << 18
_MODEL_IDS = (
    "claude-fable-5-2", "claude-mythos-5-2", "claude-fable-5-1", "claude-opus-5-5", "claude-opus-5",
    "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6", "claude-haiku-5-5", "claude-haiku-4-5",
)  # fmt: skip
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_ROUTES: list[tuple[str, re.Pattern[str], str]] = [
    ("POST", re.compile(r"/v1/messages/batches"), "create"),
    ("GET", re.compile(r"/v1/messages/batches"), "list"),
    ("GET", re.compile(r"/v1/messages/batches/([^/]+)"), "retrieve"),
    ("DELETE", re.compile(r"/v1/messages/batches/([^/]+)"), "delete"),
    ("POST", re.compile(r"/v1/messages/batches/([^/]+)/cancel"), "cancel"),
    ("GET", re.compile(r"/v1/messages/batches/([^/]+)/results"), "results"),
    ("POST", re.compile(r"/v1/messages"), "message"),
    ("POST", re.compile(r"/v1/messages/count_tokens"), "count_tokens"),
    ("POST", re.compile(r"/v1/files"), "upload"),
    ("GET", re.compile(r"/v1/files"), "files"),
    ("DELETE", re.compile(r"/v1/files/([^/]+)"), "delete_file"),
    ("GET", re.compile(r"/v1/models"), "models"),
    ("GET", re.compile(r"/v1/models/([^/]+)"), "model"),
]

Hook = Callable[[str], None]
"""Callback for each stage of a call, with the name of the stage.

Stages are create, created, retrieve, list, results, results-half, and so on.
It may raise Answer or Drop to make the call fail at that stage.
"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, batches: SimulatedBatches, hook: Hook, workspace: str) -> None:
        super().__init__(("127.0.0.1", port), _RequestHandler)
        self.batches = batches
        self.files = SimulatedFiles(batches.folder)
        self.faults = batches.faults
        self.hook = hook
        self.workspace = workspace
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect: tests kill them on purpose."""


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._handle_call()

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the terminal belongs to the runner's messages."""

    def _handle_call(self) -> None:
        try:
            body = self._read_body()
            call, parts = self._find_route()
            if not (self.headers.get("authorization") or self.headers.get("x-api-key")):
                raise ErrorResponse(401, "x-api-key header is required")
            self.server.hook(call)
            self.server.faults.raise_due_fault("any", call)
            self.server.faults.raise_due_fault(call)
            getattr(self, f"_{call}")(*parts, **({"body": body} if self.command == "POST" else {}))
        except ErrorResponse as error:
            self._send_error(error)
        except InvalidRequest as error:
            self._send_error(ErrorResponse(400, str(error)))
        except DropConnection:
            self.close_connection = True
        except HangConnection:
            time.sleep(self.server.faults.delay)
            self.close_connection = True

    def _find_route(self) -> tuple[str, tuple[str, ...]]:
        path = urlsplit(self.path).path
        for method, pattern, call in _ROUTES:
            if method == self.command and (match := pattern.fullmatch(path)):
                return call, match.groups()
        raise ErrorResponse(404, f"Not found: {self.command} {path}")

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

    def _send_json(
        self, status: int, value: object, headers: dict[str, str] | None = None, *, indent: int | None = None
    ) -> None:
        body = json.dumps(value, indent=indent).encode()
        self._send_head(
            status, {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        )
        self.wfile.write(body)
        self.wfile.flush()

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("request-id", f"req_{secrets.token_hex(12)}")
        self.send_header("anthropic-workspace-id", self.server.workspace)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the Date header of a response, by the clock of the batches."""
        faults = self.server.faults
        shift = (faults.limit("date-ahead") or 0) - (faults.limit("date-behind") or 0)
        now = self.server.batches.clock() + shift
        return super().date_time_string(now if timestamp is None else timestamp)

    def _send_error(self, error: ErrorResponse) -> None:
        if error.body is not None:
            self._send_head(error.status, {"content-length": str(len(error.body)), **error.headers})
            self.wfile.write(error.body)
            self.wfile.flush()
            return
        body: dict[str, Any] = {"type": _ERROR_TYPES.get(error.status, "api_error"), "message": str(error)}
        if error.code is not None:
            body["details"] = {"error_code": error.code}
        self._send_json(error.status, {"type": "error", "error": body, "request_id": None}, error.headers)

    def _api_version(self) -> str:
        return self.headers.get("anthropic-version") or API_VERSION

    def _get_batch(self, batch_id: str) -> dict[str, Any]:
        batch = self.server.batches.get_batch(batch_id, self.server.url)
        if batch is None:
            raise ErrorResponse(404, f"message_batch_id: {batch_id} not found")
        return batch

    def _create(self, *, body: bytes) -> None:
        requests, batches, faults = parse_create(body), self.server.batches, self.server.faults
        faults.check_create([request.custom_id for request in requests], len(body), batches.count_processing())
        if faults.fires("foreign-batch"):
            batches.create_batch(foreign_requests(requests), version=self._api_version())
        if faults.fires("late-commit"):
            batches.create_batch(requests, version=self._api_version(), commit_delay=faults.delay)
            raise DropConnection
        batch_id = batches.create_batch(requests, version=self._api_version())
        self.server.hook("created")
        faults.raise_due_fault("created", batch_id)
        self._send_json(200, self._get_batch(batch_id))

    def _retrieve(self, batch_id: str) -> None:
        self._send_json(200, self._get_batch(batch_id))

    def _list(self) -> None:
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        limit = query.get("limit", "20")
        if not (limit.isdecimal() and 1 <= int(limit) <= 1000):
            raise ErrorResponse(400, "limit: must be from 1 to 1000")
        page, more = _paginate(list(self.server.batches.list_batches(self.server.url)), query, int(limit))
        ends = (
            {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        )
        self._send_json(200, {"data": page, "has_more": more, **ends})

    def _cancel(self, batch_id: str, *, body: bytes) -> None:  # noqa: ARG002 - a POST has a body
        if self._get_batch(batch_id)["processing_status"] == "ended":
            raise ErrorResponse(400, f"Batch {batch_id} has ended and cannot be canceled")
        self.server.batches.cancel_batch(batch_id)
        self._send_json(200, self._get_batch(batch_id))

    def _delete(self, batch_id: str) -> None:
        if self._get_batch(batch_id)["processing_status"] != "ended":
            raise ErrorResponse(400, f"Batch {batch_id} is in progress: cancel it first")
        self.server.batches.delete_batch(batch_id)
        self._send_json(200, {"id": batch_id, "type": "message_batch_deleted"})

    def _results(self, batch_id: str) -> None:
        if self._get_batch(batch_id)["results_url"] is None:
            raise ErrorResponse(
                404, f"Batch {batch_id} has no results: it has not ended, or its results were archived"
            )
        path = self.server.batches.results_path(batch_id)
        if (download := self.server.faults.alter_download(path)) is not None:
            self._send_download(download)
            return
        size = path.stat().st_size
        self._send_head(200, {"content-type": "application/x-jsonl", "content-length": str(size)})
        with path.open("rb") as file:
            self._copy_file(file, size // 2)
            self.wfile.flush()
            self.server.hook("results-half")
            self._copy_file(file, size - size // 2)
        self.wfile.flush()

    def _send_download(self, download: Download) -> None:
        headers = {"content-type": download.content_type}
        if download.is_chunked:
            headers["transfer-encoding"] = "chunked"
        elif download.length is not None:
            headers["content-length"] = str(download.length)
        else:
            headers["connection"] = "close"
        self._send_head(200, headers)
        self.wfile.write(
            b"%x\r\n%b\r\n" % (len(download.body), download.body) if download.is_chunked else download.body
        )
        self.wfile.flush()
        self.close_connection = download.is_chunked or download.length != len(download.body)

    def _copy_file(self, file: Any, size: int) -> None:
        while size and (block := file.read(min(size, _BLOCK_BYTES))):
            self.wfile.write(block)
            size -= len(block)

    def _message(self, *, body: bytes) -> None:
        answer = self.server.batches.answer_message(body, version=self._api_version())
        self.server.hook("answered")
        self.server.faults.raise_due_fault("answered")
        self._send_json(200, answer, indent=2 if self.server.faults.fires("answer-laid-out") else None)

    def _count_tokens(self, *, body: bytes) -> None:
        self._send_json(200, {"input_tokens": count_tokens(body)})

    def _upload(self, *, body: bytes) -> None:
        file = self.server.files.add_file(self.headers.get("content-type", ""), body)
        self.server.hook("uploaded")
        self._send_json(200, file)

    def _files(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        ids = [*query.get("ids", ()), *query.get("ids[]", ())]
        if len(ids) > 100:
            raise ErrorResponse(400, "ids: at most 100")
        self._send_json(200, {"data": list(self.server.files.find_files(ids)), "next_page": None})

    def _delete_file(self, file_id: str) -> None:
        deleted = self.server.files.delete_file(file_id)
        if deleted is None:
            raise ErrorResponse(404, f"file_id: {file_id} not found")
        self._send_json(200, deleted)

    def _models(self) -> None:
        data = [_model_info(name) for name in _MODEL_IDS]
        self._send_json(
            200, {"data": data, "has_more": False, "first_id": _MODEL_IDS[0], "last_id": _MODEL_IDS[-1]}
        )

    def _model(self, name: str) -> None:
        if name not in _MODEL_IDS:
            raise ErrorResponse(404, f"model: {name}")
        self._send_json(200, _model_info(name))


def _model_info(name: str) -> dict[str, Any]:
    return {"id": name, "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def _paginate(data: list[dict[str, Any]], query: dict[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the requested page of a newest-first list, and whether there is more in that direction."""
    ids = [item["id"] for item in data]
    if "before_id" in query:
        end = ids.index(query["before_id"]) if query["before_id"] in ids else 0
        return data[max(0, end - limit) : end], end > limit
    start = ids.index(query["after_id"]) + 1 if query.get("after_id") in ids else 0
    return data[start : start + limit], start + limit < len(data)


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
    faults: Sequence[str] | Faults = (),
    seed: int = 0,
    fault_delay: float = 5.0,
    clock: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Serve the API on 127.0.0.1 until the context ends; yield its base URL.

    Batches are stored in `folder` and take about `seconds` each. Port 0 picks a free port. `pick_outcome`
    chooses the result of each request, and `usage` its token usage. `hook` is called at each stage of each
    call. `workspace` is the workspace of the API key. `clock` returns the server's time in Unix seconds.

    `faults`, `seed` and `fault_delay` are the arguments of `Faults`, which logs to `faults.jsonl` in `folder`.
    `faults` can also be a `Faults` object, which the caller can change later.

    Raises OSError if the port is in use, and ValueError if a fault does not exist.
    """
    wanted = faults if isinstance(faults, Faults) else Faults(faults, seed, fault_delay, folder / "faults.jsonl")
    server = _Server(port, SimulatedBatches(folder, seconds, pick_outcome, usage, clock, wanted), hook, workspace)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
