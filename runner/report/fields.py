"""Count the values of each field of the outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.report.figures import FieldFigures, ValueCount
from runner.report.totals import NumberTotals, ValueTotals, read_day
from runner.tabular.column_types import subschema_at

WHOLE = "output"
"""The name of an output that is not an object."""

_MAX_FIELDS, _MAX_DEPTH = 100, 6
_MAX_CHOICES, _MIN_REPEATS = 30, 3


@dataclass(slots=True)
class _FieldTotals:
    """The counts of one field; `steps` lead to its schema, and `parent` to the places where it could be."""

    steps: tuple[str | int, ...]
    parent: str
    filled: int = 0
    texts: int = 0
    values: ValueTotals = field(default_factory=ValueTotals)
    numbers: NumberTotals = field(default_factory=NumberTotals)
    dates: NumberTotals = field(default_factory=NumberTotals)
    lengths: NumberTotals = field(default_factory=NumberTotals)
    items: NumberTotals = field(default_factory=NumberTotals)
    is_object: bool = False
    at_low: int = 0
    at_high: int = 0


class FieldCounter:
    """Counts the fields of valid outputs: nested ones as `a.b`, and those of the items of a list as `a[].b`.

    Memory does not grow with the rows: at most 100 fields are counted, of which a few hundred values.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._fields: dict[str, _FieldTotals] = {}
        self._places: dict[str, int] = {}
        self._bounds: dict[str, tuple[float | None, float | None]] = {}

    def add(self, output: Any) -> None:
        """Count an output."""
        if isinstance(output, dict):
            self._add_object(output, "", (), 0)
        else:
            self._count_place("")
            self._add_value(WHOLE, output, (), "", 0)

    def _add_object(self, found: Mapping[str, Any], path: str, steps: tuple[str | int, ...], depth: int) -> None:
        self._count_place(path)
        for name, value in found.items():
            self._add_value(f"{path}.{name}" if path else name, value, (*steps, name), path, depth + 1)

    def _count_place(self, path: str) -> None:
        if path in self._places or len(self._places) < _MAX_FIELDS:
            self._places[path] = self._places.get(path, 0) + 1

    def _add_value(self, name: str, value: Any, steps: tuple[str | int, ...], parent: str, depth: int) -> None:
        totals = self._fields.get(name)
        if totals is None:
            if len(self._fields) >= _MAX_FIELDS:
                return
            totals = self._fields[name] = _FieldTotals(steps, parent)
            self._bounds[name] = _read_bounds(subschema_at(self._schema, steps))
        if value is None:
            return
        totals.filled += 1
        if isinstance(value, dict):
            totals.is_object = True
            if depth < _MAX_DEPTH:
                self._add_object(value, name, steps, depth)
        elif isinstance(value, list):
            totals.items.add(len(value))
            self._add_items(f"{name}[]", value, (*steps, 0), depth)
        else:
            _count_scalar(totals, value, self._bounds[name])

    def _add_items(self, name: str, items: list[Any], steps: tuple[str | int, ...], depth: int) -> None:
        for item in items if depth < _MAX_DEPTH else ():
            if isinstance(item, dict):
                self._add_object(item, name, steps, depth + 1)
            elif not isinstance(item, list):
                self._count_place(name)
                self._add_value(name, item, steps, name, depth + 1)

    def figures(self) -> list[FieldFigures]:
        """Return the figures of each field, in the order of its first occurrence."""
        return [
            self._describe(name, totals)
            for name, totals in self._fields.items()
            if not totals.is_object or totals.filled < self._places.get(totals.parent, 0)
        ]

    def _describe(self, name: str, totals: _FieldTotals) -> FieldFigures:
        of = self._places.get(totals.parent, totals.filled)
        declared = subschema_at(self._schema, totals.steps).get("enum") or ()
        values = _list_choices(totals, declared)
        return FieldFigures(
            name=name,
            of=of,
            nulls=max(0, of - totals.filled),
            values=values,
            numbers=totals.numbers.spread(),
            dates=totals.dates.spread() if totals.dates.count == totals.texts else None,
            lengths=None if values else totals.lengths.spread(),
            items=totals.items.spread(),
            bounds=self._bounds[name],
            at_low=totals.at_low,
            at_high=totals.at_high,
        )


def _count_scalar(totals: _FieldTotals, value: Any, bounds: tuple[float | None, float | None]) -> None:
    if isinstance(value, bool):
        totals.values.add("true" if value else "false")
    elif isinstance(value, str):
        totals.texts += 1
        totals.values.add(value)
        totals.lengths.add(len(value))
        if (day := read_day(value)) is not None:
            totals.dates.add(day)
    else:
        totals.numbers.add(value)
        totals.at_low += value == bounds[0]
        totals.at_high += value == bounds[1]


def _list_choices(totals: _FieldTotals, declared: Any) -> list[ValueCount]:
    """Return the values of a field that has few, also those that a schema declares and no answer has."""
    found = totals.values.most_common()
    is_text = totals.texts > 0 and not declared
    if totals.values.is_full or (is_text and (len(found) > _MAX_CHOICES or totals.dates.count == totals.texts)):
        return []
    if is_text and totals.texts < _MIN_REPEATS * len(found):
        return []
    known = {one.value for one in found}
    unused = [one for one in declared if isinstance(one, str) and one not in known] if found else []
    return [*found, *(ValueCount(one, 0) for one in unused)]


def _read_bounds(schema: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the least and the greatest number that a schema allows, as far as it says so."""
    low, high = (schema.get(name) for name in ("minimum", "maximum"))
    return (low if isinstance(low, int | float) else None, high if isinstance(high, int | float) else None)
