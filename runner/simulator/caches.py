"""Prompt caches, as others measured them with batches on the real API (public reports, 2026).

What the requests of a batch write can be read by batches that are created after it has ended, and not by each
other. What a synchronous request writes can be read by synchronous requests.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from runner.files.atomic import open_for_append
from runner.pricing.models import find_model

BYTES_PER_TOKEN = 4
_SECONDS = {"5m": 300.0, "1h": 3600.0}
_LEAST_TOKENS = 1024


class _Entry(msgspec.Struct):
    """A prefix that a request wrote or read, by its digest; `batch` is the id of its batch, or empty."""

    digest: str
    batch: str
    at: float
    ttl: str


class _Mark(NamedTuple):
    digest: str
    tokens: int
    ttl: str


class _Prefix(msgspec.Struct):
    """The parts of a request in the order in which they are cached."""

    model: str
    tools: list[dict[str, Any]] = []
    system: Any = None
    messages: list[dict[str, Any]] = []
    cache_control: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Prefix).decode


def _list_blocks(request: _Prefix) -> Iterator[dict[str, Any]]:
    yield from request.tools
    contents = [request.system, *(turn.get("content") for turn in request.messages)]
    for content in contents:
        if isinstance(content, str):
            yield {"type": "text", "text": content}
        elif isinstance(content, list):
            yield from (block for block in content if isinstance(block, dict))


def _find_marks(raw: bytes) -> list[_Mark]:
    """Return the marks of a request that have an effect, in order."""
    request = _decode(raw)
    model = find_model(request.model)
    least = model.cache_minimum if model is not None and model.cache_minimum else _LEAST_TOKENS
    blocks = list(_list_blocks(request))
    if request.cache_control is not None and blocks:
        blocks[-1] = {**blocks[-1], "cache_control": request.cache_control}
    digest, size, found = hashlib.sha256(request.model.encode()), 0, []
    for block in blocks:
        mark = block.pop("cache_control", None)
        encoded = msgspec.json.encode(block)
        digest.update(encoded)
        size += len(encoded)
        if isinstance(mark, dict) and size // BYTES_PER_TOKEN >= least:
            found.append(_Mark(digest.hexdigest(), size // BYTES_PER_TOKEN, str(mark.get("ttl", "5m"))))
    return found


class PromptCaches:
    """The caches of one folder. `ended_at` returns when a batch ended, or None if it has not."""

    def __init__(self, folder: Path, ended_at: Callable[[str], float | None]) -> None:
        self._path, self._ended_at, self._lock = folder / "caches.jsonl", ended_at, Lock()
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        self._entries: dict[tuple[str, bool], list[_Entry]] = {}
        for line in lines:
            self._remember(msgspec.json.decode(line, type=_Entry))

    def apply(self, raw: bytes, usage: dict[str, Any], *, batch: str, now: float) -> dict[str, Any]:
        """Return the usage of a request with the tokens of its prompt that it reads from a cache or writes to it.

        `batch` is the id of its batch, and empty for a synchronous request; `now` is in Unix seconds.
        """
        marks = _find_marks(raw) if b'"cache_control"' in raw else []
        if not marks:
            return usage
        read, written = 0, {"5m": 0, "1h": 0}
        with self._lock:
            last = max((n for n, mark in enumerate(marks) if self._is_readable(mark, batch, now)), default=-1)
            if last >= 0:
                read = marks[last].tokens
            done = read
            for mark in marks[last + 1 :]:
                written[mark.ttl] += mark.tokens - done
                done = mark.tokens
            for mark in marks:
                self._add(_Entry(mark.digest, batch, now, mark.ttl))
        return {
            **usage,
            "input_tokens": max(usage["input_tokens"] - done, 0),
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": sum(written.values()),
            "cache_creation": {f"ephemeral_{ttl}_input_tokens": tokens for ttl, tokens in written.items()},
        }

    def _is_readable(self, mark: _Mark, batch: str, now: float) -> bool:
        return any(
            entry.batch != batch or not batch
            for entry in self._entries.get((mark.digest, bool(batch)), ())
            if (since := self._since(entry)) is not None and since <= now <= since + _SECONDS[entry.ttl]
        )

    def _since(self, entry: _Entry) -> float | None:
        return self._ended_at(entry.batch) if entry.batch else entry.at

    def _add(self, entry: _Entry) -> None:
        """Keep an entry, once for each batch."""
        known = self._entries.get((entry.digest, bool(entry.batch)), ())
        if entry.batch and any(one.batch == entry.batch for one in known):
            return
        self._remember(entry)
        with open_for_append(self._path) as file:
            file.write(msgspec.json.encode(entry) + b"\n")

    def _remember(self, entry: _Entry) -> None:
        known = self._entries.setdefault((entry.digest, bool(entry.batch)), [])
        if not entry.batch:
            known.clear()
        known.append(entry)
