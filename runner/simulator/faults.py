"""Faults of the network, the server and other clients, injected on request, reproducibly, and logged."""

import random
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NoReturn

import msgspec

from runner.files.atomic import open_for_append
from runner.simulator.fault_list import (
    CALL_FAULTS,
    DOWNLOAD_FAULTS,
    FAULTS,
    HTML_PAGE,
    LINE_FAULTS,
    OUTCOME_FAULTS,
)
from runner.simulator.responses import JSON_LINES, ErrorResponse, Response

_FAULT_PATTERN = re.compile(r"([a-z0-9-]+)(?::(\d{1,9}(?:\.\d{1,6})?)(%)?)?")


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
        for name, (_, failure) in CALL_FAULTS.get(moment, {}).items():
            if self.fires(name, detail):
                raise failure.with_traceback(None)

    def limit(self, name: str) -> int | None:
        """Return the N of a limit, or None if it is not set."""
        wanted = self._by_name.get(name)
        return None if wanted is None else wanted.number

    def check_create(self, custom_ids: Iterable[str], size: int, processing: int) -> None:
        """Raise ErrorResponse if a limit rejects a create.

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
        """Return the outcome fault of a request, or None without one."""
        return next((name for name in OUTCOME_FAULTS if self.fires(name, custom_id)), None)

    def alter_download(self, path: Path) -> Response | None:
        """Return the faulty response to send instead of the results file `path`, or None if no fault happens."""
        struck = [name for name in (*LINE_FAULTS, *DOWNLOAD_FAULTS) if self.fires(name, path.stem)]
        if not struck:
            return None
        lines = path.read_bytes().splitlines(keepends=True)
        for name in struck:
            if name in LINE_FAULTS and lines:
                at = len(lines) // 2
                lines[at : at + 1] = LINE_FAULTS[name][1](lines[at])
        return _truncate_download(next((name for name in struck if name in DOWNLOAD_FAULTS), None), lines)


def _truncate_download(name: str | None, lines: list[bytes]) -> Response:
    """Return the response with these result lines, with the download fault `name` if it is given."""
    whole, half = b"".join(lines), b"".join(lines[: len(lines) // 2])
    match name:
        case "cut-length":
            return _make_download(half, {"content-length": str(len(whole))})
        case "cut-chunked":
            return _make_download(b"%x\r\n%b\r\n" % (len(half), half), {"transfer-encoding": "chunked"})
        case "cut-line":
            return _make_download(half, {"connection": "close"})
        case "cut-inside-line":
            return _make_download(whole[: len(half) + 9], {"connection": "close"})
        case "cut-short":
            return _make_download(half, {"content-length": str(len(half))})
        case "results-html":
            return Response(
                HTML_PAGE, headers={"content-type": "text/html", "content-length": str(len(HTML_PAGE))}
            )
        case _:
            return _make_download(whole, {"content-length": str(len(whole))})


def _make_download(body: bytes, headers: dict[str, str]) -> Response:
    """Return a response with results; the connection closes if its headers do not give the length of `body`."""
    is_complete = headers.get("content-length") == str(len(body))
    return Response(body, headers={"content-type": JSON_LINES, **headers}, should_close=not is_complete)
