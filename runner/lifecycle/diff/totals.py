"""Add up the differences of two runs: counts, causes, fields, and a few examples of each."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from runner.lifecycle.diff.compare import KINDS, FieldChange, RowDifference

OTHER_FIELDS = "other fields"

# The names of fields can be data, and then each row may have its own.
_MAX_FIELDS = 200


class Example(msgspec.Struct, omit_defaults=True):
    """A row that differs, and the values that do; a value that is missing in a run is left out."""

    key: str | int
    old: Any = msgspec.UNSET
    new: Any = msgspec.UNSET


@dataclass(slots=True)
class FieldTotals:
    """The number of rows in which a field differs, with the first of them."""

    field: str
    rows: int
    examples: list[Example]


@dataclass(slots=True)
class Totals:
    """Differences, counted one after the other; at most `limit` examples of each kind are kept."""

    limit: int
    kinds: Counter[str] = field(default_factory=Counter)
    because: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    _fields: dict[str, FieldTotals] = field(default_factory=dict)

    def add(self, one: RowDifference) -> None:
        """Count a row."""
        self.kinds[one.kind] += 1
        if one.kind in ("same", "pending"):
            return
        if one.because:
            self.because["+".join(one.because)] += 1
        if one.kind != "changed":
            self._add_example(one)
        # Several fields of a row can be counted under one name, and the row counts once.
        for name, changes in self._by_name(one.changes).items():
            self._count_field(name, one.key, changes)

    def _add_example(self, one: RowDifference) -> None:
        shown = self.examples.setdefault(one.kind, [])
        if len(shown) < self.limit:
            values = one.changes[0][1:] if one.changes else ()
            shown.append(Example(one.key, *values))

    def _by_name(self, changes: tuple[FieldChange, ...]) -> dict[str, list[FieldChange]]:
        found: dict[str, list[FieldChange]] = {}
        for change in changes:
            is_known = change.field in self._fields or len(self._fields) + len(found) < _MAX_FIELDS
            found.setdefault(change.field if is_known else OTHER_FIELDS, []).append(change)
        return found

    def _count_field(self, name: str, key: str | int, changes: list[FieldChange]) -> None:
        total = self._fields.setdefault(name, FieldTotals(name, 0, []))
        total.rows += 1
        if len(total.examples) < self.limit:
            total.examples.append(Example(key, changes[0].old, changes[0].new))

    def count_kinds(self) -> dict[str, int]:
        """Return the number of rows of each kind."""
        return {kind: self.kinds[kind] for kind in KINDS}

    def count_causes(self) -> dict[str, int]:
        """Return the number of rows by their causes, the most frequent first."""
        return dict(self.because.most_common())

    def list_fields(self) -> list[FieldTotals]:
        """Return the fields that differ, the most frequent first."""
        return sorted(self._fields.values(), key=lambda total: -total.rows)


def split_changes(one: RowDifference) -> Iterator[tuple[Any, ...]]:
    """Yield a table's lines about a row: key, kind, because, field, old and new, a line for each field."""
    changes = one.changes or (FieldChange("", msgspec.UNSET, msgspec.UNSET),)
    for name, old, new in changes:
        values = (None if value is msgspec.UNSET else value for value in (old, new))
        yield (one.key, one.kind, "+".join(one.because), name, *values)
