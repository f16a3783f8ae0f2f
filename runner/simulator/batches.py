"""Message Batches, stored on disk: accepted batches survive a kill of the simulator."""

import hashlib
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from runner.api.remote_batch import RETENTION_SECONDS
from runner.files.atomic import atomic_write, open_for_append
from runner.simulator.caches import PromptCaches
from runner.simulator.faults import Faults
from runner.simulator.messages import DECODE_ERRORS, InvalidRequest, make_message, make_pause

MAX_REQUESTS, MAX_BYTES = 100_000, 256_000_000
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_RESULT_TYPES = ("succeeded", "errored", "canceled", "expired")
_DAY = 86_400
_MAX_PAUSES = 2
_NEVER_SECONDS = 20 * 365 * _DAY
_BATCH_FAULTS = ("batch-hang", "list-lag", "future-status", "batch-expired", "archived", "deleted")


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: msgspec.Raw


class _Create(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[_Request]


class _Stored(msgspec.Struct):
    """Stored form of a batch; times are in Unix seconds."""

    id: str
    created_at: float
    ends_at: float
    total: int
    counts: dict[str, int]
    cancel_initiated_at: float | None = None
    faults: list[str] = []


UsageCallback = Callable[[bytes, dict[str, Any]], dict[str, Any]]
"""Function from the params of a request and its default usage to the usage that is reported."""

OutcomePicker = Callable[[str], str]
"""Function from a custom_id to the result of its request.

The result is a result type or an outcome fault, for example overloaded, invalid, truncated, refused or missing.
"""


def parse_create(body: bytes) -> list[_Request]:
    """Parse the requests in the body of a create. Raises InvalidRequest with a message like the API's."""
    try:
        requests = msgspec.json.decode(body, type=_Create).requests
    except DECODE_ERRORS as error:
        raise InvalidRequest(f"requests: {error}") from error
    if not 1 <= len(requests) <= MAX_REQUESTS:
        raise InvalidRequest(f"requests: must have 1 to {MAX_REQUESTS} items, not {len(requests)}")
    seen = set()
    for index, request in enumerate(requests):
        if not _ID.fullmatch(request.custom_id):
            raise InvalidRequest(
                f"requests.{index}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            )
        if request.custom_id in seen:
            raise InvalidRequest(f"requests.{index}.custom_id: {request.custom_id} is not unique")
        if not bytes(request.params).startswith(b"{"):
            raise InvalidRequest(f"requests.{index}.params: Input should be an object")
        seen.add(request.custom_id)
    return requests


def foreign_requests(requests: Sequence[_Request]) -> list[_Request]:
    """Return the same requests with custom_ids of another client."""
    return [_Request(f"somebody-1-1-{number}", request.params) for number, request in enumerate(requests, 1)]


def _errored_result(kind: str, text: str) -> dict[str, Any]:
    error = {"type": "error", "error": {"type": kind, "message": text}, "request_id": None}
    return {"type": "errored", "error": error}


def _make_result(raw: bytes, kind: str, version: str, *, is_batched: bool = True) -> dict[str, Any]:
    if kind in ("canceled", "expired"):
        return {"type": kind}
    if kind == "future-result":
        return {"type": "postponed", "until": "tomorrow"}
    if kind == "errored":
        return _errored_result("api_error", "Internal server error")
    if kind == "overloaded":
        return _errored_result("overloaded_error", "Overloaded")
    try:
        answer = make_message(raw, version=version, is_batched=is_batched)
    except InvalidRequest as error:
        if not is_batched:
            raise
        return _errored_result("invalid_request_error", str(error))
    is_stubborn = kind == "stubborn" and b'"role":"assistant"' not in raw
    if kind == "invalid" or is_stubborn:
        wrong: dict[str, Any] = answer["content"][0]
        key, value = ("input", {}) if wrong["type"] == "tool_use" else ("text", "Not what the schema asked for.")
        wrong[key] = value
    elif kind == "paused" and (done := raw.count(b'"server_tool_use"')) < _MAX_PAUSES:
        answer.update(make_pause(done))
    elif kind == "empty":
        answer["content"] = []
    elif kind == "truncated":
        answer["stop_reason"] = "max_tokens"
    elif kind == "refused":
        answer["stop_reason"] = "refusal"
    return {"type": "succeeded", "message": answer}


@dataclass
class SimulatedBatches:
    """Batches of one folder. Each ends about `seconds` after its creation; `clock` returns Unix seconds."""

    folder: Path
    seconds: float = 1.0
    pick_outcome: OutcomePicker = field(default=lambda _: "succeeded")
    usage: UsageCallback = field(default=lambda _, usage: usage)
    clock: Callable[[], float] = time.time
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = Lock()
        stored = [msgspec.json.decode(path.read_bytes(), type=_Stored) for path in self.folder.glob("*.json")]
        self._stored = {batch.id: batch for batch in sorted(stored, key=lambda batch: batch.created_at)}
        self._caches = PromptCaches(self.folder, self._ended_at)

    def results_path(self, batch_id: str) -> Path:
        """Return the path of the results file of a batch."""
        return self.folder / f"{batch_id}.jsonl"

    def create_batch(self, requests: Sequence[_Request], *, version: str, commit_delay: float = 0) -> str:
        """Accept a batch that is created `commit_delay` seconds from now, and return its id.

        Its results are drawn immediately and become available when it ends.
        """
        batch_id = "msgbatch_" + secrets.token_hex(12)
        struck = [name for name in _BATCH_FAULTS if self.faults.fires(name, batch_id)]
        counts = self._write_results(batch_id, requests, version, is_expired="batch-expired" in struck)
        now = self.clock() + commit_delay
        spread = 0.75 + 0.5 * (hashlib.sha256(batch_id.encode()).digest()[0] / 255)
        lasts = _NEVER_SECONDS if "batch-hang" in struck else self.seconds * spread
        self._save_batch(_Stored(batch_id, now, now + lasts, len(requests), counts, faults=struck))
        return batch_id

    def _write_results(
        self, batch_id: str, requests: Sequence[_Request], version: str, *, is_expired: bool
    ) -> dict[str, int]:
        counts = dict.fromkeys(_RESULT_TYPES, 0)
        shuffled = list(requests)
        random.Random(batch_id).shuffle(shuffled)  # noqa: S311 - the API returns results in any order
        with atomic_write(self.results_path(batch_id), private=True) as file:
            for request in shuffled:
                kind = "expired" if is_expired else self.faults.pick_outcome(request.custom_id)
                kind = kind or self.pick_outcome(request.custom_id)
                result = _make_result(bytes(request.params), kind, version)
                if "message" in result:
                    message = result["message"]
                    message["usage"] = self._use(bytes(request.params), message["usage"], batch_id)
                counts[result["type"] if result["type"] in counts else "errored"] += kind != "uncounted"
                if kind not in ("missing", "uncounted"):
                    line = {"custom_id": request.custom_id, "result": result}
                    file.write(msgspec.json.encode(line) + b"\n")
        return counts

    def answer_message(self, params: bytes, *, version: str) -> dict[str, Any]:
        """Answer a synchronous request, and record that it was billed. Raises InvalidRequest if it is rejected."""
        kind = self.faults.pick_outcome("") or self.pick_outcome("")
        result = _make_result(params, kind, version, is_batched=False)
        if result["type"] != "succeeded":
            raise InvalidRequest(result.get("error", {}).get("error", {}).get("message", kind))
        found: dict[str, Any] = result["message"]
        found["usage"] = self._use(params, found["usage"], "")
        line = {"params": msgspec.Raw(params), "usage": found["usage"]}
        with self._lock, open_for_append(self.folder / "messages.jsonl") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        return found

    def _use(self, params: bytes, usage: dict[str, Any], batch_id: str) -> dict[str, Any]:
        """Return the reported usage of a request; `batch_id` is empty if it is synchronous."""
        return self.usage(params, self._caches.apply(params, usage, batch=batch_id, now=self.clock()))

    def _save_batch(self, batch: _Stored) -> None:
        with atomic_write(self.folder / f"{batch.id}.json", private=True) as file:
            file.write(msgspec.json.encode(batch))
        with self._lock:
            self._stored[batch.id] = batch

    def get_batch(self, batch_id: str, base_url: str) -> dict[str, Any] | None:
        """Return a batch in the form that the API returns, or None if it does not exist."""
        batch = self._stored.get(batch_id)
        is_there = batch is not None and batch.created_at <= self.clock() and not self._is_deleted(batch)
        return self._to_json(batch, base_url) if batch is not None and is_there else None

    def list_batches(self, base_url: str) -> Iterator[dict[str, Any]]:
        """Yield the batches that are listed by now, newest first."""
        with self._lock:
            stored = list(self._stored.values())
        now = self.clock()
        seen = [batch for batch in stored if _listed_at(batch, self.faults.delay) <= now]
        seen = [batch for batch in seen if not self._is_deleted(batch)]
        # Of two batches of one instant, the later one in the state is the newer.
        oldest_first = sorted(seen, key=lambda batch: batch.created_at)
        return (self._to_json(batch, base_url) for batch in reversed(oldest_first))

    def count_processing(self) -> int:
        """Return the number of requests in unfinished batches."""
        with self._lock:
            stored = list(self._stored.values())
        return sum(batch.total for batch in stored if batch.ends_at > self.clock())

    def _is_deleted(self, batch: _Stored) -> bool:
        return "deleted" in batch.faults and batch.ends_at <= self.clock()

    def _ended_at(self, batch_id: str) -> float | None:
        batch = self._stored.get(batch_id)
        return batch.ends_at if batch is not None and batch.ends_at <= self.clock() else None

    def has_ended(self, batch_id: str) -> bool:
        """Return whether a batch has ended."""
        return self._stored[batch_id].ends_at <= self.clock()

    def cancel_batch(self, batch_id: str) -> None:
        """Cancel a batch in progress; requests that have no response yet end as canceled."""
        batch = self._stored[batch_id]
        if self.has_ended(batch_id) or batch.cancel_initiated_at is not None:
            return
        lines = [msgspec.json.decode(line) for line in self.results_path(batch_id).read_bytes().splitlines()]
        answered = len(lines) // 2 if self.faults.fires("cancel-half", batch_id) else 0
        counts = dict.fromkeys(_RESULT_TYPES, 0)
        with atomic_write(self.results_path(batch_id), private=True) as file:
            for index, line in enumerate(lines):
                result = line["result"] if index < answered else {"type": "canceled"}
                counts[result["type"]] += 1
                file.write(msgspec.json.encode({"custom_id": line["custom_id"], "result": result}) + b"\n")
        now = self.clock()
        ends_at = min(batch.ends_at, now + self.seconds)
        self._save_batch(msgspec.structs.replace(batch, counts=counts, cancel_initiated_at=now, ends_at=ends_at))

    def delete_batch(self, batch_id: str) -> None:
        """Delete an ended batch and its results."""
        with self._lock:
            del self._stored[batch_id]
        (self.folder / f"{batch_id}.json").unlink()
        self.results_path(batch_id).unlink()

    def _to_json(self, batch: _Stored, base_url: str) -> dict[str, Any]:
        ended, archived = self.has_ended(batch.id), self._archived_at(batch)
        waiting = {"processing": batch.total, **dict.fromkeys(_RESULT_TYPES, 0)}
        running = "in_progress" if batch.cancel_initiated_at is None else "canceling"
        if "future-status" in batch.faults:
            running = "postponed"
        has_results = ended and archived is None
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else running,
            "request_counts": {"processing": 0, **batch.counts} if ended else waiting,
            "created_at": _format_time(batch.created_at),
            "expires_at": _format_time(batch.created_at + _DAY),
            "ended_at": _format_time(batch.ends_at) if ended else None,
            "cancel_initiated_at": _format_time(batch.cancel_initiated_at),
            "archived_at": _format_time(archived),
            "results_url": f"{base_url}/v1/messages/batches/{batch.id}/results" if has_results else None,
        }

    def _archived_at(self, batch: _Stored) -> float | None:
        at = batch.ends_at if "archived" in batch.faults else batch.created_at + RETENTION_SECONDS
        return at if at <= self.clock() else None


def _listed_at(batch: _Stored, lag: float) -> float:
    return batch.created_at + (lag if "list-lag" in batch.faults else 0)


def _format_time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
