"""Pack the rows of a run for the page: compressed blocks of columns, within a size that the page may have.

The page decompresses a block when it is shown or searched. Its index tells the outcome of every row without that.
"""

import base64
import tempfile
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import msgspec

from runner.evaluation.evaluator import Wrong
from runner.lifecycle.deliver.row_results import RowResult
from runner.results.outcome import Outcome

MAX_ROWS, MAX_FAILED = 100_000, 50_000
"""The most rows that a page holds, and the most of them that failed and are no more among the first."""

_BLOCK_ROWS = 500
# In base64 a third more: with the rest of the page below 10 MB.
_MAX_BYTES = 6_900_000
_CUTS = tuple(int(20_000 / 1.4**step) for step in range(22))
_MAX_REASONS = 200
# A browser reads numbers as floats.
_MAX_EXACT = 2**53
_PENDING = "pending"
_MAX_PICTURE_BYTES = 3_000_000

_NO_ROOM = f"a page holds {_MAX_PICTURE_BYTES // 1_000_000} MB of pictures"


class Drawing(NamedTuple):
    """Pictures of what a row has attached, as data URLs, and why some of them are `missing`."""

    pictures: Sequence[str] = ()
    missing: str | None = None


Draw = Callable[[RowResult], Drawing]
"""Draws what a row has attached."""

Judge = Callable[[RowResult, Outcome], Wrong]
"""Returns the evaluations that the answer to a row misses."""


class Block(NamedTuple):
    """Some hundred rows, compressed and in base64, and their pictures; without any, `pictures` is empty."""

    rows: str
    pictures: str


class RowPacker:
    """Takes the rows of a run one after the other, and keeps them compressed in a temporary file.

    Texts are cut only as far as the rows would not fit: each block may use its part of the room that is left. Of
    more than 100,000 rows, the first are kept, and those that failed. `draw` returns pictures of a row, of which
    the first are kept that fit. `judge` says which answers are wrong.
    """

    def __init__(
        self, file: BinaryIO, *, rows: int, failed: int, draw: Draw | None = None, judge: Judge | None = None
    ) -> None:
        self._file, self._draw, self._judge = file, draw, judge
        self._picture_room = 0 if draw is None else _MAX_PICTURE_BYTES
        kept_failed = min(failed, MAX_FAILED)
        self._left = {True: kept_failed, False: min(rows - failed, MAX_ROWS - kept_failed)}
        self._room, self._cut = _MAX_BYTES - self._picture_room, 0
        self._waiting: list[RowResult] = []
        self._waiting_wrong: list[Wrong] = []
        self._outcomes, self._reasons = {_PENDING: 0}, {"": 0, "other reasons": 1}
        self._outcome, self._reason, self._wrong = array("B"), array("H"), array("B")
        self._sizes: list[int] = []
        self.without_pictures = Counter[str]()
        self.rows = rows

    @property
    def kept(self) -> int:
        """The number of rows that are kept."""
        return len(self._outcome)

    @property
    def is_cut(self) -> bool:
        """True if texts were cut to less than their usual length."""
        return self._cut > 0

    @property
    def wrong(self) -> int:
        """The number of rows that are kept whose answers are wrong."""
        return sum(self._wrong)

    def add(self, found: RowResult) -> None:
        """Take a row; those beyond the most that a page holds are left out."""
        has_failed = found.outcome is not None and found.outcome.outcome != "succeeded"
        if self._left[has_failed] <= 0:
            return
        self._left[has_failed] -= 1
        name = _PENDING if found.outcome is None else found.outcome.outcome
        self._outcome.append(self._outcomes.setdefault(name, len(self._outcomes)))
        self._reason.append(self._number_reason((found.outcome and found.outcome.reason) or ""))
        wrong = {} if self._judge is None or found.outcome is None else self._judge(found, found.outcome)
        self._wrong.append(bool(wrong))
        self._waiting.append(found)
        self._waiting_wrong.append(wrong)
        if len(self._waiting) == _BLOCK_ROWS:
            self._write_block()

    def _number_reason(self, reason: str) -> int:
        if reason not in self._reasons and len(self._reasons) >= _MAX_REASONS:
            return 1
        return self._reasons.setdefault(reason, len(self._reasons))

    def _write_block(self) -> None:
        left = len(self._waiting) + max(0, sum(self._left.values()))
        share = self._room * len(self._waiting) // left
        packed = _compress(_make_block(self._waiting, self._waiting_wrong, _CUTS[self._cut]))
        while len(packed) > share and self._cut < len(_CUTS) - 1:
            self._cut += 1
            packed = _compress(_make_block(self._waiting, self._waiting_wrong, _CUTS[self._cut]))
        self._room -= len(packed)
        self._file.write(base64.b64encode(packed) + b" " + self._pack_pictures() + b"\n")
        self._sizes.append(len(self._waiting))
        self._waiting.clear()
        self._waiting_wrong.clear()

    def _pack_pictures(self) -> bytes:
        """Return the pictures of the waiting rows in base64; empty if no row has one, or no more fit."""
        if self._draw is None:
            return b""
        drawn = [self._draw_row(row, self._draw) for row in self._waiting]
        return base64.b64encode(_compress(drawn)) if any(drawn) else b""

    def _draw_row(self, row: RowResult, draw: Draw) -> Sequence[str]:
        """Return the pictures of a row if they fit, and note why some are left out."""
        drawing = draw(row) if self._picture_room > 0 else Drawing(missing=_NO_ROOM)
        # Compression makes of base64 what it was before, and of a JPEG nothing smaller.
        self._picture_room -= sum(map(len, drawing.pictures)) * 3 // 4
        if drawing.pictures and self._picture_room < 0:
            drawing = Drawing(missing=_NO_ROOM)
        if drawing.missing is not None:
            self.without_pictures[drawing.missing] += 1
        return drawing.pictures

    def finish(self) -> str:
        """Write the rows that are left, and return the index of all blocks in base64."""
        if self._waiting:
            self._write_block()
        index = {
            "sizes": self._sizes,
            "outcomes": list(self._outcomes),
            "reasons": list(self._reasons),
            "outcome": list(self._outcome),
            "reason": list(self._reason),
            "wrong": list(self._wrong),
        }
        return base64.b64encode(_compress(index)).decode()

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks."""
        self._file.seek(0)
        for line in self._file:
            rows, _, pictures = line.decode().rstrip("\n").partition(" ")
            yield Block(rows, pictures)


@contextmanager
def open_packer(
    *, rows: int, failed: int, draw: Draw | None = None, judge: Judge | None = None
) -> Iterator[RowPacker]:
    """Yield a packer for a run with so many rows, of which so many have failed."""
    with tempfile.TemporaryFile(prefix="runner-report-") as file:
        yield RowPacker(file, rows=rows, failed=failed, draw=draw, judge=judge)


def _compress(value: Any) -> bytes:
    return zlib.compress(msgspec.json.encode(value), 6)


def _make_block(rows: list[RowResult], wrong: list[Wrong], cut: int) -> dict[str, Any]:
    """Return rows as columns, which are smaller than objects once compressed; texts longer than `cut` are cut."""
    decode = msgspec.json.decode
    return {
        "key": [row.key for row in rows],
        "input": _to_columns([decode(row.fields) for row in rows], cut),
        "output": _to_columns([row.outcome and row.outcome.output for row in rows], cut),
        "message": [_cut(_message_of(row), cut) for row in rows],
        "wrong": [_list_wrong(one, cut) for one in wrong],
    }


def _list_wrong(wrong: Wrong, cut: int) -> list[tuple[str, Any, Any]]:
    """Return the expected and the actual value of each evaluation that a row misses, with its name."""
    return [(name, _cut(one["expected"], cut), _cut(one["actual"], cut)) for name, one in wrong.items()]


def _message_of(row: RowResult) -> str | None:
    return row.outcome.error["message"] if row.outcome is not None and row.outcome.error is not None else None


def _to_columns(values: list[Any], cut: int) -> list[tuple[str, list[Any]]]:
    """Return the fields of objects as columns, in the order of their first row; "" is that of all other values."""
    names: dict[str, None] = {}
    found = [value if isinstance(value, dict) else {} if value is None else {"": value} for value in values]
    for fields in found:
        names.update(dict.fromkeys(fields))
    return [(name, [_cut(fields.get(name), cut) for fields in found]) for name in names]


def _cut(value: Any, cut: int) -> Any:
    """Return a value that is not longer than `cut`: a text is cut, and what is nested becomes text if long."""
    if isinstance(value, dict | list):
        text = msgspec.json.encode(value).decode()
        return value if len(text) <= cut else f"{text[:cut]}…"
    if isinstance(value, int) and abs(value) > _MAX_EXACT:
        return str(value)
    return f"{value[:cut]}…" if isinstance(value, str) and len(value) > cut else value


def keep_nothing(_: RowResult) -> None:
    """Take a row and keep nothing of it."""
