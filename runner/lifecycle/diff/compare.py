"""Compare what became of one row in two runs."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from runner.lifecycle.diff.causes import ChangedParts, find_causes

SUCCEEDED = "succeeded"
KINDS = ("same", "changed", "regressed", "fixed", "added", "removed", "pending")
"""Kinds of rows. A regressed one succeeded only in the old run, and a fixed one only in the new run.

Rows that succeeded in neither run are the same if they failed for the same reason. A pending one has no result in
one of the runs.
"""

_MISSING = msgspec.UNSET


class RowState(msgspec.Struct, array_like=True, gc=False):
    """A row of a run with its result: digests of its fields and its request, and the output if it succeeded.

    `request` is None if it is unknown, and `outcome` is None while there is no result.
    """

    key: str | int
    fields: bytes
    request: bytes | None
    outcome: str | None
    reason: str | None
    output: Any


class FieldChange(NamedTuple):
    """A part of a result that differs; its value is `UNSET` where it is missing."""

    field: str
    old: Any
    new: Any


class RowDifference(NamedTuple):
    """A row that differs, with the causes and the parts of its result that do."""

    key: str | int
    kind: str
    because: tuple[str, ...] = ()
    changes: tuple[FieldChange, ...] = ()


def compare_rows(old: RowState, new: RowState, parts: ChangedParts) -> RowDifference:
    """Return how two results of one row differ, of the kind `same` if they do not."""
    if old.outcome is None or new.outcome is None:
        return RowDifference(new.key, "pending")
    changes = tuple(_find_changes(old, new))
    if not changes:
        return RowDifference(new.key, "same")
    causes = find_causes(
        parts,
        is_same_row=old.fields == new.fields,
        is_same_request=old.request == new.request if old.request and new.request else None,
    )
    return RowDifference(new.key, _find_kind(old, new), causes, changes)


def _find_kind(old: RowState, new: RowState) -> str:
    if (old.outcome == SUCCEEDED) == (new.outcome == SUCCEEDED):
        return "changed"
    return "regressed" if old.outcome == SUCCEEDED else "fixed"


def _find_changes(old: RowState, new: RowState) -> Iterator[FieldChange]:
    if old.outcome == new.outcome == SUCCEEDED:
        yield from find_field_changes(old.output, new.output)
    elif (old.reason, old.outcome) != (new.reason, new.outcome):
        yield FieldChange("outcome", old.reason or old.outcome, new.reason or new.outcome)


def find_field_changes(old: Any, new: Any) -> Iterator[FieldChange]:
    """Yield the differences of two outputs: by the paths of fields where both are objects, else as a whole."""
    # Not recursive: an answer may be nested deeper than Python calls.
    waiting = [("output", old, new)]
    while waiting:
        path, before, after = waiting.pop()
        if isinstance(before, dict) and isinstance(after, dict):
            waiting += reversed(list(_pair_fields(path, before, after)))
        elif not is_equal(before, after):
            yield FieldChange(path, before, after)


def _pair_fields(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*old, *new)):
        yield f"{path}.{name}", old.get(name, _MISSING), new.get(name, _MISSING)


def is_equal(old: Any, new: Any) -> bool:
    """Return whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    waiting = [(old, new)]
    while waiting:
        before, after = waiting.pop()
        if isinstance(before, dict) and isinstance(after, dict):
            if before.keys() != after.keys():
                return False
            waiting += ((value, after[name]) for name, value in before.items())
        elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
            if len(before) != len(after):
                return False
            waiting += zip(before, after, strict=True)
        elif isinstance(before, bool) != isinstance(after, bool) or before != after:
            return False
    return True
