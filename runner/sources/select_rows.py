"""Selection of rows by `where`, `sample` and `limit`, and of their columns and types."""

import random
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from runner.errors import InputError, Problem
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Source
from runner.tabular.column_types import make_text_parser
from runner.templates.expressions import ExpressionError, compile_expression
from runner.templates.known_fields import make_closed_schema

_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")

RawRow = tuple[str, int, dict[str, Any]]
"""(path, line, fields) of one row."""


def select_rows(
    source: Source, rows: Iterator[RawRow], limit: int | None, *, is_schemaless: bool
) -> Iterator[RawRow]:
    """Yield the rows that a spec selects, in source order, at most `limit`.

    If the source `is_schemaless`, its rows may have different fields: a name that is missing from the first row
    proves nothing. Raises InputError.
    """
    if source.columns or source.types:
        rows = _convert_columns(source, rows, is_schemaless=is_schemaless)
    if source.where is not None:
        rows = _filter_rows(source, source.where, rows, is_schemaless=is_schemaless)
    if source.sample is not None:
        rows = _sample_rows(rows, source.sample, source.seed)
    limits = [most for most in (limit, source.limit) if most is not None]
    return islice(rows, min(limits, default=None))


def _convert_columns(source: Source, rows: Iterator[RawRow], *, is_schemaless: bool) -> Iterator[RawRow]:
    """Yield rows with the selected columns only, and with text converted to the declared types."""
    readers = {name: make_text_parser(written) for name, written in source.types.items()}
    never = {*source.columns, *readers} if is_schemaless else set[str]()
    for path, line, fields in rows:
        never -= fields.keys()
        if source.columns:
            if not is_schemaless and (
                absent := next((name for name in source.columns if name not in fields), None)
            ):
                raise InputError([Problem(path, f"no column {absent!r}: {suggest_similar(absent, fields)}", line)])
            fields = {name: fields[name] for name in source.columns if name in fields}
        for name, read in readers.items():
            try:
                if name in fields:
                    fields[name] = read(fields[name])
                elif not is_schemaless:
                    raise ValueError(f"there is no such column: {suggest_similar(name, fields)}")
            except (ValueError, RecursionError) as error:
                message, remedy = f"cannot read {name} as {source.types[name]}: {error}", ""
                # Some errors say what to do.
                if name in fields and "(type string)" not in message:
                    remedy = _describe_remedy(name, fields[name])
                    message = f"{message}: {remedy}"
                raise InputError([Problem(path, message, line, remedy=remedy)]) from error
        yield path, line, fields
    for name in sorted(never):
        raise InputError(
            [Problem(path, f"no row has the field {name!r} that source.columns or source.types names")]
        )


def _describe_remedy(name: str, value: Any) -> str:
    """Return what to do about a cell that is not of its type."""
    remedy = f"correct the cell, or remove {name} from `types` of the source to read it as text"
    if _DECIMAL_COMMA.fullmatch(str(value).strip()):
        return f"{remedy}; `row[{name!r}] | replace(',', '.') | float` then computes with a decimal comma"
    return remedy


def _filter_rows(source: Source, where: str, rows: Iterator[RawRow], *, is_schemaless: bool) -> Iterator[RawRow]:
    fits = None
    for path, line, fields in rows:
        try:
            if fits is None:
                known = source.columns if is_schemaless else tuple(fields)
                fits = compile_expression(
                    where,
                    names=(*known, "row") if known else None,
                    schemas={"row": make_closed_schema({name: {} for name in known})} if known else None,
                )
            if fits({**fields, "row": fields}):
                yield path, line, fields
        except ExpressionError as error:
            raise InputError([Problem("source.where", str(error), error.line)]) from error
        except ValueError as error:
            raise InputError([Problem(path, f"cannot evaluate source.where: {error}", line)]) from error


def _sample_rows(rows: Iterator[RawRow], count: int, seed: int) -> Iterator[RawRow]:
    """Yield a uniform sample of `count` rows, reproducible for a seed; memory holds only the sample."""
    chance, held = random.Random(seed), list[tuple[int, RawRow]]()  # noqa: S311 - must be repeatable
    for number, row in enumerate(rows):
        if len(held) < count:
            held.append((number, row))
        elif (place := chance.randrange(number + 1)) < count:
            held[place] = number, row
    yield from (row for _, row in sorted(held, key=lambda pair: pair[0]))
