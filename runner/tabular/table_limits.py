"""Limits of the columns of a table, as its database tells them."""

import re
from typing import TYPE_CHECKING, Any

from runner.io_types.limits import ExactLimit, JsonWithoutNul, Limit, TextLimit

if TYPE_CHECKING:
    import sqlalchemy as sa


_NUL = re.compile("\0")


_POSTGRES = """
SELECT attname, format_type(atttypid, atttypmod), atttypid::regtype::text,
    CASE WHEN atttypid IN (1042, 1043) AND atttypmod > 4 THEN atttypmod - 4 END
FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
"""


_MYSQL = """
SELECT column_name, column_type, data_type, character_maximum_length, character_octet_length, character_set_name
FROM information_schema.columns
WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name = :name
"""


_THREE_BYTES, _BEYOND_BMP = ("utf8", "utf8mb3"), re.compile("[\U00010000-\U0010ffff]")


_EXACT = ("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "date")


_CODECS = {"latin1": "cp1252", "ascii": "ascii"}


def read_column_limits(connection: "sa.Connection", table: "sa.Table") -> dict[str, Limit]:
    """Return the limits of a table's columns by name. Raises the errors of SQLAlchemy.

    SQLite has none: its types do not bound a text.
    """
    import sqlalchemy as sa

    dialect = connection.dialect
    if dialect.name == "postgresql":
        quoted = dialect.identifier_preparer.format_table(table)
        rows = connection.execute(sa.text(_POSTGRES), {"table": quoted}).all()
        return {row[0]: _limit_postgres(row[1], row[2], row[3]) for row in rows}
    if dialect.name in ("mysql", "mariadb"):
        rows = connection.execute(sa.text(_MYSQL), {"schema": table.schema, "name": table.name}).all()
        folded = {str(row[0]).casefold(): _limit_mysql(*row[1:]) for row in rows}
        names = [column.name for column in table.columns]
        return {name: folded[name.casefold()] for name in names if name.casefold() in folded}
    return {}


def _limit_postgres(shown: str, kind: str, most: int | None) -> Limit:
    place = f"a column of the type {shown}"
    if kind == "jsonb":
        return JsonWithoutNul()
    if kind in _EXACT:
        return ExactLimit(place)
    # A json column keeps the text of a value, in which NUL is written as six plain characters.
    return TextLimit(place, most=most, refused=_NUL, refused_name="NUL characters (U+0000)")


def _limit_mysql(shown: str, kind: str, characters: int | None, octets: int | None, charset: str | None) -> Limit:
    """Return the limit of a column. VARCHAR counts characters, and TEXT bytes."""
    place = f"a column of the type {shown}"
    if kind.lower() in _EXACT:
        return ExactLimit(place)
    own: dict[str, Any] = {"refused": _find_refused(charset), "refused_name": f"some characters, in {charset}"}
    if shown.lower().startswith(("char", "varchar")):
        return TextLimit(place, most=characters, **own)
    if str(charset).startswith("utf8"):
        own |= {"measure": _count_bytes, "widest": 4}
    return TextLimit(place, most=octets, unit="bytes", **own)


def _find_refused(charset: str | None) -> re.Pattern[str] | None:
    """Return a pattern of the characters that a character set does not have, or None if that is not known."""
    if charset in _THREE_BYTES:
        return _BEYOND_BMP
    codec = _CODECS.get(str(charset))
    known = bytes(range(256)).decode(codec, "ignore") if codec else ""
    return re.compile(f"[^{re.escape(known)}]") if known else None


def _count_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
