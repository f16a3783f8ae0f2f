"""The calls of the API: which method and path each has, and how it is answered."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

from runner.simulator.batches import SimulatedBatches, foreign_requests, parse_create
from runner.simulator.files import SimulatedFiles
from runner.simulator.messages import API_VERSION, count_tokens
from runner.simulator.responses import JSON_LINES, DropConnection, ErrorResponse, Response, json_response
from runner.simulator.streaming import stream_response

_BLOCK_BYTES = 1 << 18
_MODEL_IDS = (
    "claude-fable-5-2", "claude-mythos-5-2", "claude-fable-5-1", "claude-opus-5-5", "claude-opus-5",
    "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6", "claude-haiku-5-5", "claude-haiku-4-5",
)  # fmt: skip

Hook = Callable[[str], None]
"""Callback for each stage of a call, with the name of the stage.

Stages are create, created, retrieve, list, results, results-half, and so on.
It may raise an exception of `responses` to make the call fail at that stage.
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """The state of an organization. `hook` is called at each stage of a call; `url` is the server's base URL."""

    batches: SimulatedBatches
    files: SimulatedFiles
    hook: Hook
    url: str
    workspace: str
    organization: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its headers, query and body, and the id in its path, which is empty if the path has none."""

    headers: Message
    query: dict[str, list[str]]
    body: bytes
    id: str = ""

    @property
    def api_version(self) -> str:
        """The API version that the client asks for."""
        return self.headers.get("anthropic-version") or API_VERSION

    def last_value(self, name: str) -> str | None:
        """Return the last value of a query parameter, or None without one."""
        return self.query[name][-1] if name in self.query else None


def _create_batch(backend: Backend, call: Call) -> Response:
    requests, batches, faults = parse_create(call.body), backend.batches, backend.batches.faults
    faults.check_create([one.custom_id for one in requests], len(call.body), batches.count_processing())
    if faults.fires("foreign-batch"):
        batches.create_batch(foreign_requests(requests), version=call.api_version)
    if faults.fires("late-commit"):
        batches.create_batch(requests, version=call.api_version, commit_delay=faults.delay)
        raise DropConnection
    batch_id = batches.create_batch(requests, version=call.api_version)
    backend.hook("created")
    faults.raise_due_fault("created", batch_id)
    return json_response(_get_batch(backend, batch_id))


def _retrieve_batch(backend: Backend, call: Call) -> Response:
    batch = _get_batch(backend, call.id)
    if batch["ended_at"] is not None and backend.batches.faults.fires("ended-ahead", call.id):
        batch["ended_at"] = "2099-01-01T00:00:00Z"
    return json_response(batch)


def _list_batches(backend: Backend, call: Call) -> Response:
    limit = call.last_value("limit") or "20"
    if not (limit.isdecimal() and 1 <= int(limit) <= 1000):
        raise ErrorResponse(400, "limit: must be from 1 to 1000")
    listed, faults = list(backend.batches.list_batches(backend.url)), backend.batches.faults
    if limit != "1" and faults.fires("list-no-cursor"):
        return json_response({"data": [], "has_more": True, "first_id": None, "last_id": None})
    if limit != "1" and len(listed) > 1 and faults.fires("list-unordered"):
        listed.reverse()
    page, more = _paginate(listed, call, int(limit))
    page = [_add_count(backend, batch) for batch in page]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return json_response({"data": page, "has_more": more, "first_id": first, "last_id": last})


def _cancel_batch(backend: Backend, call: Call) -> Response:
    if _get_batch(backend, call.id)["processing_status"] == "ended":
        raise ErrorResponse(400, f"Batch {call.id} has ended and cannot be canceled")
    backend.batches.cancel_batch(call.id)
    return json_response(_get_batch(backend, call.id))


def _delete_batch(backend: Backend, call: Call) -> Response:
    if _get_batch(backend, call.id)["processing_status"] != "ended":
        raise ErrorResponse(400, f"Batch {call.id} is in progress: cancel it first")
    backend.batches.delete_batch(call.id)
    return json_response({"id": call.id, "type": "message_batch_deleted"})


def _download_results(backend: Backend, call: Call) -> Response:
    if _get_batch(backend, call.id)["results_url"] is None:
        raise ErrorResponse(404, f"Batch {call.id} has no results: it has not ended, or its results were archived")
    path = backend.batches.results_path(call.id)
    if (faulty := backend.batches.faults.alter_download(path)) is not None:
        return faulty
    headers = {"content-type": JSON_LINES, "content-length": str(path.stat().st_size)}
    return Response(_read_in_halves(path, backend.hook), headers=headers)


def _answer_message(backend: Backend, call: Call) -> Response:
    answer = backend.batches.answer_message(call.body, version=call.api_version)
    backend.hook("answered")
    faults = backend.batches.faults
    faults.raise_due_fault("answered")
    if b'"stream"' in call.body and json.loads(call.body).get("stream") is True:
        return stream_response(answer)
    return json_response(answer, indent=2 if faults.fires("answer-laid-out") else None)


def _count_tokens(_: Backend, call: Call) -> Response:
    return json_response({"input_tokens": count_tokens(call.body)})


def _upload_file(backend: Backend, call: Call) -> Response:
    file = backend.files.add_file(call.headers.get("content-type", ""), call.body)
    backend.hook("uploaded")
    return json_response(file)


def _list_files(backend: Backend, call: Call) -> Response:
    ids = [*call.query.get("ids", ()), *call.query.get("ids[]", ())]
    if len(ids) > 100:
        raise ErrorResponse(400, "ids: at most 100")
    return json_response({"data": list(backend.files.find_files(ids)), "next_page": None})


def _delete_file(backend: Backend, call: Call) -> Response:
    deleted = backend.files.delete_file(call.id)
    if deleted is None:
        raise ErrorResponse(404, f"file_id: {call.id} not found")
    return json_response(deleted)


def _list_models(_: Backend, __: Call) -> Response:
    data = [_model_info(name) for name in _MODEL_IDS]
    return json_response({"data": data, "has_more": False, "first_id": _MODEL_IDS[0], "last_id": _MODEL_IDS[-1]})


def _retrieve_model(_: Backend, call: Call) -> Response:
    if call.id not in _MODEL_IDS:
        raise ErrorResponse(404, f"model: {call.id}")
    return json_response(_model_info(call.id))


def _get_batch(backend: Backend, batch_id: str) -> dict[str, Any]:
    batch = backend.batches.get_batch(batch_id, backend.url)
    if batch is None:
        raise ErrorResponse(404, f"message_batch_id: {batch_id} not found")
    return _add_count(backend, batch)


def _add_count(backend: Backend, batch: dict[str, Any]) -> dict[str, Any]:
    if backend.batches.faults.fires("count-added", batch["id"]):
        batch["request_counts"]["total"] = sum(batch["request_counts"].values())
    return batch


def _paginate(data: list[dict[str, Any]], call: Call, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the requested page of a newest-first list, and whether there is more in that direction."""
    ids = [item["id"] for item in data]
    if (before := call.last_value("before_id")) is not None:
        end = ids.index(before) if before in ids else 0
        return data[max(0, end - limit) : end], end > limit
    after = call.last_value("after_id")
    start = ids.index(after) + 1 if after in ids else 0
    return data[start : start + limit], start + limit < len(data)


def _read_in_halves(path: Path, hook: Hook) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks, and call the hook with results-half when half of them are sent."""
    size = path.stat().st_size
    with path.open("rb") as file:
        yield from _read_blocks(file, size // 2)
        hook("results-half")
        yield from _read_blocks(file, size - size // 2)


def _read_blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (block := file.read(min(size, _BLOCK_BYTES))):
        yield block
        size -= len(block)


def _model_info(name: str) -> dict[str, Any]:
    return {"id": name, "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. `stage` is the name of its first stage; a group in `path` is the id of a thing."""

    method: str
    path: str
    stage: str
    answer: Callable[[Backend, Call], Response]


ROUTES = (
    Route("POST", "/v1/messages/batches", "create", _create_batch),
    Route("GET", "/v1/messages/batches", "list", _list_batches),
    Route("GET", "/v1/messages/batches/([^/]+)", "retrieve", _retrieve_batch),
    Route("DELETE", "/v1/messages/batches/([^/]+)", "delete", _delete_batch),
    Route("POST", "/v1/messages/batches/([^/]+)/cancel", "cancel", _cancel_batch),
    Route("GET", "/v1/messages/batches/([^/]+)/results", "results", _download_results),
    Route("POST", "/v1/messages", "message", _answer_message),
    Route("POST", "/v1/messages/count_tokens", "count_tokens", _count_tokens),
    Route("POST", "/v1/files", "upload", _upload_file),
    Route("GET", "/v1/files", "files", _list_files),
    Route("DELETE", "/v1/files/([^/]+)", "delete_file", _delete_file),
    Route("GET", "/v1/models", "models", _list_models),
    Route("GET", "/v1/models/([^/]+)", "model", _retrieve_model),
)
"""All calls. The tests misbehave at the stage of each of them."""


def find_route(method: str, path: str) -> tuple[Route, str]:
    """Return the route of a call, and the id in its path. Raises ErrorResponse with 404 for an unknown call."""
    for route in ROUTES:
        if route.method == method and (match := re.fullmatch(route.path, path)):
            return route, "".join(match.groups())
    raise ErrorResponse(404, f"Not found: {method} {path}")
