"""A server on loopback that sends exactly the bytes a test gives it, and a client of the API for it."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from runner.api.client import Api
from runner.api.connect import connect

Answer = Callable[[str, str], Iterable[bytes]]
"""Function from method and path with query to the pieces of a response, sent one by one."""

DATE = "Thu, 26 Nov 2026 12:00:00 GMT"


def response(body: Any, *, status: int = 200, **headers: str) -> Iterator[bytes]:
    """Yield a whole response; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Date": DATE, "Content-Type": "application/json", "Content-Length": str(len(data))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    yield f"HTTP/1.1 {status} X\r\n{head}\r\n".encode()
    yield data


def batch(id: str = "msgbatch_1", **changes: Any) -> dict[str, Any]:
    """A batch in progress as the API shows it."""
    return {
        "id": id,
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-11-26T12:00:00Z",
        **changes,
    }


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline().decode("latin-1"):
            method, path, _ = line.split(" ", 2)
            length = 0
            while header := self.rfile.readline().strip():
                name, _, value = header.decode("latin-1").partition(":")
                length = int(value) if name.lower() == "content-length" else length
            self.rfile.read(length)
            for piece in self.server.answer(method, path):  # type: ignore[attr-defined]
                self.wfile.write(piece)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that give up: that is what the tests are about."""


@contextmanager
def send_answers(answer: Answer) -> Iterator[str]:
    """Answer each call with the bytes of `answer`; yield the base URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answer = answer  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def hostile_api(answer: Answer) -> Iterator[Api]:
    """Yield the runner's client of a server with these answers."""
    with send_answers(answer) as url, connect(base_url=url, api_key="a key") as api:
        yield api
