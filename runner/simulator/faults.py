"""Faults of the network, the server and other clients, injected on request, reproducibly, and logged."""

import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NoReturn

import msgspec

from runner.files.atomic import open_for_append

_HTML = b"<!DOCTYPE html><html><body><h1>Welcome to the proxy</h1></body></html>"
_FAULT_PATTERN = re.compile(r"([a-z0-9-]+)(?::(\d{1,9}(?:\.\d{1,6})?)(%)?)?")


class ErrorResponse(Exception):
    """Error response to a call; `code` is the API's error_code, and `body` replaces the API's JSON."""

    def __init__(
        self, status: int, text: str, headers: dict[str, str] | None = None, *,
        code: str | None = None, body: bytes | None = None,
    ) -> None:  # fmt: skip
        super().__init__(text)
        self.status = status
        self.headers = headers or {}
        self.code = code
        self.body = body


class DropConnection(Exception):
    """Signal to close the connection without sending more."""


class HangConnection(Exception):
    """Signal to send nothing for the lag, then close the connection."""


_CALL_FAULTS: dict[str, dict[str, tuple[str, Exception]]] = {
    "any": {
        "drop": ("connection closed before the call is handled", DropConnection()),
        "storm-429": ("429 with a retry-after header", ErrorResponse(429, "Rate limited", {"retry-after": "1"})),
        "storm-500": ("500 internal server error", ErrorResponse(500, "Internal server error")),
        "storm-529": ("529 overloaded", ErrorResponse(529, "Overloaded")),
        "html": ("200 with an HTML page", ErrorResponse(200, "", {"content-type": "text/html"}, body=_HTML)),
        "revoked-key": ("401 invalid API key", ErrorResponse(401, "invalid x-api-key")),
        "forbidden": ("403 no permission", ErrorResponse(403, "Your API key does not have permission")),
        "redirect": (
            "307 redirect to another host",
            ErrorResponse(307, "", {"location": "http://127.0.0.1:9/elsewhere"}),
        ),
    },
    "create": {
        "queue-full": (
            "429 because too many requests are in processing",
            ErrorResponse(429, "Number of batch requests in processing exceeds your limit", {"retry-after": "1"}),
        ),
        "spend-limit": (
            "429 for the monthly spend limit: waiting does not help",
            ErrorResponse(429, "You have reached your monthly limit", code="enforced_spend_limit_reached"),
        ),
        "on-hold": (
            "400 because the organization is on hold",
            ErrorResponse(400, "On hold", code="organization_on_hold"),
        ),
        "billing": (
            "402 because the credit balance is too low",
            ErrorResponse(402, "Your credit balance is too low"),
        ),
        "refuse": ("400 because of an unknown beta header", ErrorResponse(400, "anthropic-beta: unknown beta")),
        "too-large": (
            "413 from a proxy in front of the API",
            ErrorResponse(413, "", {"content-type": "text/html"}, body=_HTML),
        ),
        "refuse-504": ("504, and the batch is not accepted", ErrorResponse(504, "Gateway timeout")),
    },
    "created": {
        "accept-then-drop": ("batch accepted, then the connection closes", DropConnection()),
        "accept-then-408": ("batch accepted, then 408", ErrorResponse(408, "Request timeout")),
        "accept-then-409": ("batch accepted, then 409", ErrorResponse(409, "Conflict")),
        "accept-then-500": ("batch accepted, then 500", ErrorResponse(500, "Internal server error")),
        "accept-then-504": ("batch accepted, then 504", ErrorResponse(504, "Gateway timeout")),
        "accept-then-529": ("batch accepted, then 529", ErrorResponse(529, "Overloaded")),
        "accept-then-hang": ("batch accepted, then no response for --lag seconds", HangConnection()),
        "accept-then-cut": (
            "batch accepted, then 200 with half of the JSON",
            ErrorResponse(200, "", body=b'{"id":"msgbat'),
        ),
        "accept-then-html": (
            "batch accepted, then 200 with an HTML page",
            ErrorResponse(200, "", {"content-type": "text/html"}, body=_HTML),
        ),
    },
    "message": {
        "message-429": (
            "429 for a synchronous request",
            ErrorResponse(429, "Rate limited", {"retry-after": "0.1"}),
        ),
        "message-529": ("529 for a synchronous request", ErrorResponse(529, "Overloaded")),
        "message-400": ("400 for a synchronous request", ErrorResponse(400, "messages: something is wrong")),
    },
    "answered": {
        "answer-then-drop": (
            "synchronous request answered and billed, then the connection closes",
            DropConnection(),
        ),
        "answer-then-504": (
            "synchronous request answered and billed, then 504",
            ErrorResponse(504, "Gateway timeout"),
        ),
        "answer-then-html": (
            "synchronous request answered and billed, then 200 with an HTML page",
            ErrorResponse(200, "", {"content-type": "text/html"}, body=_HTML),
        ),
    },
    "count_tokens": {"count-500": ("500 for token counting", ErrorResponse(500, "Internal server error"))},
    "retrieve": {
        "retrieve-404": ("404 for a batch that exists", ErrorResponse(404, "message_batch_id: not found"))
    },
    "results": {"results-404": ("404 for results that exist", ErrorResponse(404, "results: not found"))},
}
"""Faults that make a call fail, by stage of the call: description and exception to raise."""

_OUTCOME_FAULTS = {
    "errored": "request ends as errored with api_error",
    "overloaded": "request ends as errored with overloaded_error",
    "expired": "request ends as expired",
    "canceled": "request ends as canceled",
    "invalid": "response does not match its schema",
    "stubborn": "invalid response until the request contains an earlier one",
    "truncated": "response stops at max_tokens",
    "paused": "response pauses twice, like a server-tool turn",
    "refused": "response is a refusal",
    "missing": "request has no result",
    "future-result": "result has a type that does not exist yet",
}
_LINE_FAULTS: dict[str, tuple[str, Callable[[bytes], list[bytes]]]] = {
    "line-blank": ("blank line in the results", lambda line: [b"\n", line]),
    "line-malformed": ("line of the results cut in half", lambda line: [line[: len(line) // 2] + b"\n"]),
    "line-duplicate": ("duplicate line in the results", lambda line: [line, line]),
    "line-conflict": ("second line that contradicts the first", lambda line: [line, _expired_line(line)]),
    "line-missing": ("line missing from the results", lambda _: []),
    "line-foreign": (
        "line of another client's batch in the results",
        lambda line: [line, _expired_line(line, "somebody-1-1-1")],
    ),
    "line-bad-utf8": ("line that is not valid UTF-8", lambda line: [line[:-4] + b"\xff" + line[-4:]]),
}
_DOWNLOAD_FAULTS = {
    "cut-length": "download ends before its Content-Length",
    "cut-chunked": "chunked download ends without its last chunk",
    "cut-line": "download of unknown length ends after a complete line",
    "cut-inside-line": "download of unknown length ends inside a line",
    "cut-short": "download with missing lines, and a Content-Length to match",
    "results-html": "200 with an HTML page instead of the results",
}
_OTHER_FAULTS = {
    "late-commit": "create is cut off, and its batch appears --lag seconds later",
    "list-lag": "batch is listed --lag seconds late",
    "foreign-batch": "another client creates a batch of the same size just before",
    "future-status": "batch has a processing_status that does not exist yet",
    "answer-laid-out": "synchronous response is indented JSON, as from a gateway",
    "batch-hang": "batch does not end until it is canceled",
    "cancel-half": "half of a batch is answered before it is canceled",
    "batch-expired": "all requests of a batch expire",
    "archived": "results of a batch are archived when it ends",
    "deleted": "batch is deleted when it ends",
}
_LIMIT_FAULTS = {
    "max-requests": "400 for a batch of more than N requests",
    "max-bytes": "413 for a body of more than N bytes",
    "max-queue": "429 if more than N requests would be in processing",
    "date-ahead": "Date header of every response is N seconds ahead",
    "date-behind": "Date header of every response is N seconds behind",
    "refused-row": "400 that names the request, if the batch contains row N",
    "refused-unnamed-row": "400 that names no request, if the batch contains row N",
}
FAULTS: dict[str, str] = {
    **{name: about for failures in _CALL_FAULTS.values() for name, (about, _) in failures.items()},
    **_OTHER_FAULTS,
    **{name: about for name, (about, _) in _LINE_FAULTS.items()},
    **_DOWNLOAD_FAULTS,
    **_OUTCOME_FAULTS,
    **_LIMIT_FAULTS,
}
"""All faults: name and description."""


def _expired_line(line: bytes, custom_id: str | None = None) -> bytes:
    found = custom_id or msgspec.json.decode(line)["custom_id"]
    return msgspec.json.encode({"custom_id": found, "result": {"type": "expired"}}) + b"\n"


@dataclass(frozen=True, slots=True)
class Download:
    """Response with results. `length` is its Content-Length, or None if the body ends with the connection."""

    body: bytes
    length: int | None = None
    is_chunked: bool = False
    content_type: str = "application/x-jsonl"


@dataclass(slots=True)
class _RequestedFault:
    """Requested frequency of a fault: `times` more, or with the probability `probability`."""

    number: int
    times: int
    probability: float | None
    rng: random.Random

    def fires(self) -> bool:
        if self.probability is not None:
            return self.rng.random() < self.probability
        self.times -= 1
        return self.times >= 0


@dataclass
class Faults:
    """Faults to inject: `NAME` once, `NAME:N` N times, `NAME:P%` with that probability.

    For a limit, N is the limit itself. `seed` makes the probabilities reproducible, and `delay` is in seconds.
    Each injected fault is appended to `log` as a JSON line {time, fault, about}. Raises ValueError if a fault
    does not exist.
    """

    requested: Iterable[str] = ()
    seed: int = 0
    delay: float = 5.0
    log: Path | None = None
    _by_name: dict[str, _RequestedFault] = field(init=False, default_factory=dict)
    _lock: Lock = field(init=False, default_factory=Lock)

    def __post_init__(self) -> None:
        for written in self.requested:
            self.add(written)

    def add(self, fault: str) -> None:
        """Add a fault, written as `NAME`, `NAME:N` or `NAME:P%`. Raises ValueError if it does not exist."""
        match = _FAULT_PATTERN.fullmatch(fault)
        if match is None or match[1] not in FAULTS:
            raise ValueError(f"{fault!r} is not a known fault: `runner simulate --list-faults` lists them")
        name, number, percent = match.groups()
        if percent is None and "." in (number or ""):
            raise ValueError(f"{fault!r}: N must be a whole number")
        share = float(number) / 100 if percent else None
        times = 0 if percent else int(number or 1)
        chance = random.Random(f"{self.seed} {name}")  # noqa: S311 - must be reproducible
        self._by_name[name] = _RequestedFault(times, times, share, chance)

    def clear(self) -> None:
        """Remove all faults."""
        self._by_name.clear()

    def fires(self, name: str, detail: str = "") -> bool:
        """Return whether a fault happens at this opportunity, and log it if so."""
        with self._lock:
            wanted = self._by_name.get(name)
            if wanted is None or not wanted.fires():
                return False
            self._log_fault(name, detail)
            return True

    def _log_fault(self, name: str, detail: str) -> None:
        if self.log is not None:
            entry = {"time": time.time(), "fault": name, "about": detail}
            with open_for_append(self.log) as file:
                file.write(msgspec.json.encode(entry) + b"\n")

    def raise_due_fault(self, moment: str, detail: str = "") -> None:
        """Raise the exception of a fault that makes the call fail at this stage, if there is one."""
        for name, (_, failure) in _CALL_FAULTS.get(moment, {}).items():
            if self.fires(name, detail):
                raise failure.with_traceback(None)

    def limit(self, name: str) -> int | None:
        """Return the N of a limit, or None if it is not set."""
        wanted = self._by_name.get(name)
        return None if wanted is None else wanted.number

    def check_create(self, custom_ids: Iterable[str], size: int, processing: int) -> None:
        """Raise Answer if a limit rejects a create.

        `custom_ids` are those of its requests, `size` is its body in bytes, and `processing` is the number of
        requests in unfinished batches.
        """
        ids = list(custom_ids)
        if (limit := self.limit("max-requests")) is not None and len(ids) > limit:
            self._raise_limit_error(
                "max-requests", ErrorResponse(400, f"requests: List should have at most {limit} items")
            )
        if (limit := self.limit("max-bytes")) is not None and size > limit:
            self._raise_limit_error(
                "max-bytes", ErrorResponse(413, f"Request exceeds the maximum size of {limit} bytes")
            )
        if (limit := self.limit("max-queue")) is not None and processing + len(ids) > limit:
            text = "Too many batch requests in processing"
            self._raise_limit_error("max-queue", ErrorResponse(429, text, {"retry-after": "1"}))
        for name in ("refused-row", "refused-unnamed-row"):
            row = self.limit(name)
            index = next((index for index, one in enumerate(ids) if row and one.endswith(f"-{row}")), None)
            if index is not None:
                at = f"requests.{index}.params: " if name == "refused-row" else ""
                self._raise_limit_error(name, ErrorResponse(400, f"{at}Input should be a valid dictionary"))

    def _raise_limit_error(self, name: str, failure: ErrorResponse) -> NoReturn:
        with self._lock:
            self._log_fault(name, "create")
        raise failure

    def pick_outcome(self, custom_id: str) -> str | None:
        """Return the outcome fault of a request, or None if there is none."""
        return next((name for name in _OUTCOME_FAULTS if self.fires(name, custom_id)), None)

    def alter_download(self, path: Path) -> Download | None:
        """Return the faulty response to send instead of the results file `path`, or None if no fault happens."""
        struck = [name for name in (*_LINE_FAULTS, *_DOWNLOAD_FAULTS) if self.fires(name, path.stem)]
        if not struck:
            return None
        lines = path.read_bytes().splitlines(keepends=True)
        for name in struck:
            if name in _LINE_FAULTS and lines:
                at = len(lines) // 2
                lines[at : at + 1] = _LINE_FAULTS[name][1](lines[at])
        return _truncate_download(next((name for name in struck if name in _DOWNLOAD_FAULTS), None), lines)


def _truncate_download(name: str | None, lines: list[bytes]) -> Download:
    whole, half = b"".join(lines), b"".join(lines[: len(lines) // 2])
    match name:
        case "cut-length":
            return Download(half, len(whole))
        case "cut-chunked":
            return Download(half, is_chunked=True)
        case "cut-line":
            return Download(half)
        case "cut-inside-line":
            return Download(whole[: len(half) + 9])
        case "cut-short":
            return Download(half, len(half))
        case "results-html":
            return Download(_HTML, len(_HTML), content_type="text/html")
        case _:
            return Download(whole, len(whole))
