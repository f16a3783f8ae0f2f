"""Faults on request: what network, server and neighbours do to a client, drawn from a seed and written down."""

import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NoReturn

import msgspec

from runner.durable import appending

_HTML = b"<!DOCTYPE html><html><body><h1>Welcome to the proxy</h1></body></html>"
_WRITTEN = re.compile(r"([a-z0-9-]+)(?::(\d{1,9}(?:\.\d{1,6})?)(%)?)?")


class Answer(Exception):
    """Answer this call with an error; `code` is the API's error_code, `body` bytes instead of the API's JSON."""

    def __init__(
        self, status: int, text: str, headers: dict[str, str] | None = None, *,
        code: str | None = None, body: bytes | None = None,
    ) -> None:  # fmt: skip
        super().__init__(text)
        self.status = status
        self.headers = headers or {}
        self.code = code
        self.body = body


class Drop(Exception):
    """Close the connection without a (further) answer."""


class Hang(Exception):
    """Say nothing for as long as a lag, then close the connection."""


_FAILURES: dict[str, dict[str, tuple[str, Exception]]] = {
    "any": {
        "drop": ("the connection closes before a call is handled", Drop()),
        "storm-429": ("429 with a retry-after", Answer(429, "Rate limited", {"retry-after": "1"})),
        "storm-500": ("500", Answer(500, "Internal server error")),
        "storm-529": ("529", Answer(529, "Overloaded")),
        "html": ("200 with a page of HTML", Answer(200, "", {"content-type": "text/html"}, body=_HTML)),
        "revoked-key": ("401", Answer(401, "invalid x-api-key")),
        "forbidden": ("403", Answer(403, "Your API key does not have permission")),
        "redirect": ("307 to another host", Answer(307, "", {"location": "http://127.0.0.1:9/elsewhere"})),
    },
    "create": {
        "queue-full": (
            "429: too many requests in processing",
            Answer(429, "Number of batch requests in processing exceeds your limit", {"retry-after": "1"}),
        ),
        "spend-limit": (
            "429 that no waiting mends",
            Answer(429, "You have reached your monthly limit", code="enforced_spend_limit_reached"),
        ),
        "on-hold": ("400 for all of an organization", Answer(400, "On hold", code="organization_on_hold")),
        "billing": ("402", Answer(402, "Your credit balance is too low")),
        "refuse": ("400", Answer(400, "anthropic-beta: unknown beta")),
        "too-large": ("413, from the proxy in front", Answer(413, "", {"content-type": "text/html"}, body=_HTML)),
        "refuse-504": ("504, and nothing was accepted", Answer(504, "Gateway timeout")),
    },
    "created": {
        "accept-then-drop": ("accepted, then the connection closes", Drop()),
        "accept-then-408": ("accepted, then 408", Answer(408, "Request timeout")),
        "accept-then-409": ("accepted, then 409", Answer(409, "Conflict")),
        "accept-then-500": ("accepted, then 500", Answer(500, "Internal server error")),
        "accept-then-504": ("accepted, then 504", Answer(504, "Gateway timeout")),
        "accept-then-529": ("accepted, then 529", Answer(529, "Overloaded")),
        "accept-then-hang": ("accepted, then silence for --lag seconds", Hang()),
        "accept-then-cut": ("accepted, then 200 with half of its JSON", Answer(200, "", body=b'{"id":"msgbat')),
        "accept-then-html": (
            "accepted, then 200 with a page of HTML",
            Answer(200, "", {"content-type": "text/html"}, body=_HTML),
        ),
    },
    "message": {
        "message-429": ("a synchronous request: 429", Answer(429, "Rate limited", {"retry-after": "0.1"})),
        "message-529": ("a synchronous request: 529", Answer(529, "Overloaded")),
        "message-400": ("a synchronous request: 400", Answer(400, "messages: something is wrong")),
    },
    "answered": {
        "answer-then-drop": ("a synchronous request is answered, and paid, and the connection closes", Drop()),
        "answer-then-504": (
            "a synchronous request is answered, and paid, and 504",
            Answer(504, "Gateway timeout"),
        ),
        "answer-then-html": (
            "a synchronous request is answered, and paid, and 200 with a page of HTML",
            Answer(200, "", {"content-type": "text/html"}, body=_HTML),
        ),
    },
    "count_tokens": {"count-500": ("token counting: 500", Answer(500, "Internal server error"))},
    "retrieve": {"retrieve-404": ("404 for a batch that is there", Answer(404, "message_batch_id: not found"))},
    "results": {"results-404": ("404 for results that are there", Answer(404, "results: not found"))},
}
"""What makes a call fail, by the moment in which it does: what is said of it, and what happens."""

_OUTCOMES = {
    "errored": "a request ends errored: api_error",
    "overloaded": "a request ends errored: overloaded_error",
    "expired": "a request ends expired",
    "canceled": "a request ends canceled",
    "invalid": "an answer is not what its schema asks for",
    "stubborn": "an answer is not what its schema asks for, until it is told so",
    "truncated": "an answer stops at max_tokens",
    "paused": "an answer pauses twice, as a turn of server tools does",
    "refused": "an answer is a refusal",
    "missing": "a request has no result at all",
    "future-result": "a result is of a type that does not exist yet",
}
_LINES: dict[str, tuple[str, Callable[[bytes], list[bytes]]]] = {
    "line-blank": ("a download has a blank line", lambda line: [b"\n", line]),
    "line-malformed": ("a line is cut in two", lambda line: [line[: len(line) // 2] + b"\n"]),
    "line-duplicate": ("a line comes twice", lambda line: [line, line]),
    "line-conflict": ("a second line says something else of a request", lambda line: [line, _expired(line)]),
    "line-missing": ("a line is not there", lambda _: []),
    "line-foreign": ("a line of somebody else's batch", lambda line: [line, _expired(line, "somebody-1-1-1")]),
    "line-bad-utf8": ("a line is not UTF-8", lambda line: [line[:-4] + b"\xff" + line[-4:]]),
}
_CUTS = {
    "cut-length": "a download ends before its Content-Length",
    "cut-chunked": "a chunked download ends without its last chunk",
    "cut-line": "a download of unknown length ends at a line",
    "cut-inside-line": "a download of unknown length ends inside a line",
    "cut-short": "a download lacks lines, and its Content-Length says so",
    "results-html": "a download is 200 with a page of HTML",
}
_OTHERS = {
    "late-commit": "a create is cut off, and its batch appears --lag seconds later",
    "list-lag": "the list shows a batch --lag seconds late",
    "foreign-batch": "somebody else creates a batch of the same size just before ours",
    "future-status": "a batch has a processing_status that does not exist yet",
    "answer-laid-out": "a synchronous answer is JSON on several lines, as a gateway may send it",
    "batch-hang": "a batch does not end until it is canceled",
    "cancel-half": "half of a batch is answered before its cancel takes effect",
    "batch-expired": "every request of a batch expires",
    "archived": "the results of a batch are archived when it ends",
    "deleted": "a batch is deleted when it ends",
}
_LIMITS = {
    "max-requests": "400 for a batch of more than N requests",
    "max-bytes": "413 for a body of more than N bytes",
    "max-queue": "429 for a create as long as more than N requests would be in processing",
    "date-ahead": "the Date of every answer is N seconds ahead",
    "date-behind": "the Date of every answer is N seconds behind",
    "refused-row": "400 that names the request, for a batch with row N",
    "refused-unnamed-row": "400 that names no request, for a batch with row N",
}
FAULTS: dict[str, str] = {
    **{name: about for failures in _FAILURES.values() for name, (about, _) in failures.items()},
    **_OTHERS,
    **{name: about for name, (about, _) in _LINES.items()},
    **_CUTS,
    **_OUTCOMES,
    **_LIMITS,
}
"""Every fault by name, with what happens."""


def _expired(line: bytes, custom_id: str | None = None) -> bytes:
    found = custom_id or msgspec.json.decode(line)["custom_id"]
    return msgspec.json.encode({"custom_id": found, "result": {"type": "expired"}}) + b"\n"


@dataclass(frozen=True, slots=True)
class Download:
    """How results go over the wire; `length` is declared, None for a body that ends with the connection."""

    body: bytes
    length: int | None = None
    is_chunked: bool = False
    content_type: str = "application/x-jsonl"


@dataclass(slots=True)
class _Wanted:
    """How often a fault is to happen: `times` more, or with the probability `share`."""

    number: int
    times: int
    share: float | None
    chance: random.Random

    def strikes(self) -> bool:
        if self.share is not None:
            return self.chance.random() < self.share
        self.times -= 1
        return self.times >= 0


@dataclass
class Faults:
    """The faults that a simulator is to have: `NAME` once, `NAME:N` N times, `NAME:P%` with that probability.

    For a limit N is the limit itself. `seed` decides what probabilities draw, `lag` is in seconds. What happened
    is appended to `log` as JSON lines {time, fault, about}. Raises ValueError for a fault that does not exist.
    """

    wanted: Iterable[str] = ()
    seed: int = 0
    lag: float = 5.0
    log: Path | None = None
    _wanted: dict[str, _Wanted] = field(init=False, default_factory=dict)
    _lock: Lock = field(init=False, default_factory=Lock)

    def __post_init__(self) -> None:
        for written in self.wanted:
            self.add(written)

    def add(self, written: str) -> None:
        """Want one more fault from now on. Raises ValueError if it does not exist."""
        match = _WRITTEN.fullmatch(written)
        if match is None or match[1] not in FAULTS:
            raise ValueError(f"{written!r} is no fault: `runner simulate --list-faults` lists them")
        name, number, percent = match.groups()
        if percent is None and "." in (number or ""):
            raise ValueError(f"{written!r}: N counts, so it is a whole number")
        share = float(number) / 100 if percent else None
        times = 0 if percent else int(number or 1)
        chance = random.Random(f"{self.seed} {name}")  # noqa: S311 - to be repeatable is the point
        self._wanted[name] = _Wanted(times, times, share, chance)

    def clear(self) -> None:
        """Want none of the faults any more."""
        self._wanted.clear()

    def strikes(self, name: str, about: str = "") -> bool:
        """Whether a fault happens at this opportunity; if so, it is written down."""
        with self._lock:
            wanted = self._wanted.get(name)
            if wanted is None or not wanted.strikes():
                return False
            self._note(name, about)
            return True

    def _note(self, name: str, about: str) -> None:
        if self.log is not None:
            entry = {"time": time.time(), "fault": name, "about": about}
            with appending(self.log) as file:
                file.write(msgspec.json.encode(entry) + b"\n")

    def at(self, moment: str, about: str = "") -> None:
        """Raise what makes a call fail in this moment, if anything does."""
        for name, (_, failure) in _FAILURES.get(moment, {}).items():
            if self.strikes(name, about):
                raise failure.with_traceback(None)

    def limit(self, name: str) -> int | None:
        """The N of a limit, or None."""
        wanted = self._wanted.get(name)
        return None if wanted is None else wanted.number

    def refuses(self, custom_ids: Iterable[str], size: int, processing: int) -> None:
        """Raise the refusal that a create with these ids and body bytes earns, with so many requests under way."""
        ids = list(custom_ids)
        if (most := self.limit("max-requests")) is not None and len(ids) > most:
            self._limited("max-requests", Answer(400, f"requests: List should have at most {most} items"))
        if (most := self.limit("max-bytes")) is not None and size > most:
            self._limited("max-bytes", Answer(413, f"Request exceeds the maximum size of {most} bytes"))
        if (most := self.limit("max-queue")) is not None and processing + len(ids) > most:
            text = "Too many batch requests in processing"
            self._limited("max-queue", Answer(429, text, {"retry-after": "1"}))
        for name in ("refused-row", "refused-unnamed-row"):
            row = self.limit(name)
            index = next((index for index, one in enumerate(ids) if row and one.endswith(f"-{row}")), None)
            if index is not None:
                at = f"requests.{index}.params: " if name == "refused-row" else ""
                self._limited(name, Answer(400, f"{at}Input should be a valid dictionary"))

    def _limited(self, name: str, failure: Answer) -> NoReturn:
        with self._lock:
            self._note(name, "create")
        raise failure

    def outcome(self, custom_id: str) -> str | None:
        """How a request ends other than well, or None."""
        return next((name for name in _OUTCOMES if self.strikes(name, custom_id)), None)

    def download(self, path: Path) -> Download | None:
        """What goes over the wire instead of the results file `path`, or None if that itself does."""
        struck = [name for name in (*_LINES, *_CUTS) if self.strikes(name, path.stem)]
        if not struck:
            return None
        lines = path.read_bytes().splitlines(keepends=True)
        for name in struck:
            if name in _LINES and lines:
                at = len(lines) // 2
                lines[at : at + 1] = _LINES[name][1](lines[at])
        return _cut(next((name for name in struck if name in _CUTS), None), lines)


def _cut(name: str | None, lines: list[bytes]) -> Download:
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
