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

from runner.simulator.batches import MAX_BYTES, Batches, Mix, UsageOf, parse, strangers
from runner.simulator.faults import Answer, Download, Drop, Faults, Hang
from runner.simulator.files import Files
from runner.simulator.messages import VERSION, Invalid, count_tokens

_BLOCK = 1 << 18
_MODELS = (
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

On = Callable[[str], None]
"""Callback for each stage of a call, with the name of the stage.

Stages are create, created, retrieve, list, results, results-half, and so on.
It may raise Answer or Drop to make the call fail at that stage.
"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, batches: Batches, on: On, workspace: str) -> None:
        super().__init__(("127.0.0.1", port), _Call)
        self.batches = batches
        self.files = Files(batches.folder)
        self.faults = batches.faults
        self.on = on
        self.workspace = workspace
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect: tests kill them on purpose."""


class _Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the terminal belongs to the runner's messages."""

    def _answer(self) -> None:
        try:
            body = self._body()
            call, parts = self._route()
            if not (self.headers.get("authorization") or self.headers.get("x-api-key")):
                raise Answer(401, "x-api-key header is required")
            self.server.on(call)
            self.server.faults.at("any", call)
            self.server.faults.at(call)
            getattr(self, f"_{call}")(*parts, **({"body": body} if self.command == "POST" else {}))
        except Answer as error:
            self._send_error(error)
        except Invalid as error:
            self._send_error(Answer(400, str(error)))
        except Drop:
            self.close_connection = True
        except Hang:
            time.sleep(self.server.faults.lag)
            self.close_connection = True

    def _route(self) -> tuple[str, tuple[str, ...]]:
        path = urlsplit(self.path).path
        for method, pattern, call in _ROUTES:
            if method == self.command and (match := pattern.fullmatch(path)):
                return call, match.groups()
        raise Answer(404, f"Not found: {self.command} {path}")

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        given = self.headers.get("content-length") or "0"
        if not given.isdecimal():
            self.close_connection = True
            raise Answer(400, f"content-length: {given} is not a length")
        length = int(given)
        if length > MAX_BYTES:
            self.close_connection = True
            raise Answer(413, f"Request exceeds the maximum size of {MAX_BYTES} bytes")
        body = self.rfile.read(length)
        if len(body) < length:
            raise Drop
        return body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(
        self, status: int, value: object, headers: dict[str, str] | None = None, *, indent: int | None = None
    ) -> None:
        body = json.dumps(value, indent=indent).encode()
        self._head(
            status, {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        )
        self.wfile.write(body)
        self.wfile.flush()

    def _head(self, status: int, headers: dict[str, str]) -> None:
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

    def _send_error(self, error: Answer) -> None:
        if error.body is not None:
            self._head(error.status, {"content-length": str(len(error.body)), **error.headers})
            self.wfile.write(error.body)
            self.wfile.flush()
            return
        body: dict[str, Any] = {"type": _ERROR_TYPES.get(error.status, "api_error"), "message": str(error)}
        if error.code is not None:
            body["details"] = {"error_code": error.code}
        self._send(error.status, {"type": "error", "error": body, "request_id": None}, error.headers)

    def _version(self) -> str:
        return self.headers.get("anthropic-version") or VERSION

    def _found(self, batch_id: str) -> dict[str, Any]:
        batch = self.server.batches.get(batch_id, self.server.url)
        if batch is None:
            raise Answer(404, f"message_batch_id: {batch_id} not found")
        return batch

    def _create(self, *, body: bytes) -> None:
        requests, batches, faults = parse(body), self.server.batches, self.server.faults
        faults.refuses([request.custom_id for request in requests], len(body), batches.processing())
        if faults.strikes("foreign-batch"):
            batches.create(strangers(requests), version=self._version())
        if faults.strikes("late-commit"):
            batches.create(requests, version=self._version(), delay=faults.lag)
            raise Drop
        batch_id = batches.create(requests, version=self._version())
        self.server.on("created")
        faults.at("created", batch_id)
        self._send(200, self._found(batch_id))

    def _retrieve(self, batch_id: str) -> None:
        self._send(200, self._found(batch_id))

    def _list(self) -> None:
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        limit = query.get("limit", "20")
        if not (limit.isdecimal() and 1 <= int(limit) <= 1000):
            raise Answer(400, "limit: must be from 1 to 1000")
        page, more = _page(list(self.server.batches.newest(self.server.url)), query, int(limit))
        ends = (
            {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        )
        self._send(200, {"data": page, "has_more": more, **ends})

    def _cancel(self, batch_id: str, *, body: bytes) -> None:  # noqa: ARG002 - a POST has a body
        if self._found(batch_id)["processing_status"] == "ended":
            raise Answer(400, f"Batch {batch_id} has ended and cannot be canceled")
        self.server.batches.cancel(batch_id)
        self._send(200, self._found(batch_id))

    def _delete(self, batch_id: str) -> None:
        if self._found(batch_id)["processing_status"] != "ended":
            raise Answer(400, f"Batch {batch_id} is in progress: cancel it first")
        self.server.batches.delete(batch_id)
        self._send(200, {"id": batch_id, "type": "message_batch_deleted"})

    def _results(self, batch_id: str) -> None:
        if self._found(batch_id)["results_url"] is None:
            raise Answer(404, f"Batch {batch_id} has no results: it has not ended, or its results were archived")
        path = self.server.batches.results(batch_id)
        if (download := self.server.faults.download(path)) is not None:
            self._send_download(download)
            return
        size = path.stat().st_size
        self._head(200, {"content-type": "application/x-jsonl", "content-length": str(size)})
        with path.open("rb") as file:
            self._copy(file, size // 2)
            self.wfile.flush()
            self.server.on("results-half")
            self._copy(file, size - size // 2)
        self.wfile.flush()

    def _send_download(self, download: Download) -> None:
        headers = {"content-type": download.content_type}
        if download.is_chunked:
            headers["transfer-encoding"] = "chunked"
        elif download.length is not None:
            headers["content-length"] = str(download.length)
        else:
            headers["connection"] = "close"
        self._head(200, headers)
        self.wfile.write(
            b"%x\r\n%b\r\n" % (len(download.body), download.body) if download.is_chunked else download.body
        )
        self.wfile.flush()
        self.close_connection = download.is_chunked or download.length != len(download.body)

    def _copy(self, file: Any, size: int) -> None:
        while size and (block := file.read(min(size, _BLOCK))):
            self.wfile.write(block)
            size -= len(block)

    def _message(self, *, body: bytes) -> None:
        answer = self.server.batches.answer(body, version=self._version())
        self.server.on("answered")
        self.server.faults.at("answered")
        self._send(200, answer, indent=2 if self.server.faults.strikes("answer-laid-out") else None)

    def _count_tokens(self, *, body: bytes) -> None:
        self._send(200, {"input_tokens": count_tokens(body)})

    def _upload(self, *, body: bytes) -> None:
        file = self.server.files.add(self.headers.get("content-type", ""), body)
        self.server.on("uploaded")
        self._send(200, file)

    def _files(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        ids = [*query.get("ids", ()), *query.get("ids[]", ())]
        if len(ids) > 100:
            raise Answer(400, "ids: at most 100")
        self._send(200, {"data": list(self.server.files.find(ids)), "next_page": None})

    def _delete_file(self, file_id: str) -> None:
        deleted = self.server.files.delete(file_id)
        if deleted is None:
            raise Answer(404, f"file_id: {file_id} not found")
        self._send(200, deleted)

    def _models(self) -> None:
        data = [_model(name) for name in _MODELS]
        self._send(200, {"data": data, "has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]})

    def _model(self, name: str) -> None:
        if name not in _MODELS:
            raise Answer(404, f"model: {name}")
        self._send(200, _model(name))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def _page(data: list[dict[str, Any]], query: dict[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
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
    mix: Mix = lambda _: "succeeded",
    usage: UsageOf = lambda _, usage: usage,
    on: On = lambda _: None,
    workspace: str = "wrkspc_simulated",
    faults: Sequence[str] | Faults = (),
    seed: int = 0,
    lag: float = 5.0,
    clock: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Serve the API on 127.0.0.1 until the context ends; yield its base URL.

    Batches are stored in `folder` and take about `seconds` each. Port 0 picks a free port. `mix` chooses the
    result of each request, and `usage` its token usage. `on` is called at each stage of each call. `workspace` is
    the workspace of the API key. `clock` returns the server's time in Unix seconds.

    `faults`, `seed` and `lag` are the arguments of `Faults`, which logs to `faults.jsonl` in `folder`. `faults`
    can also be a `Faults` object, which the caller can change later.

    Raises OSError if the port is in use, and ValueError if a fault does not exist.
    """
    wanted = faults if isinstance(faults, Faults) else Faults(faults, seed, lag, folder / "faults.jsonl")
    server = _Server(port, Batches(folder, seconds, mix, usage, clock, wanted), on, workspace)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
