"""Databases by URL, through SQLAlchemy: the only place that knows it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.spec import without_password

if TYPE_CHECKING:
    import sqlalchemy as sa

_ROWS = 1_000
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class Failed(ValueError):
    """What a database says is wrong."""


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Raise Failed for what SQLAlchemy or a driver raises."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as error:
        raise Failed(f"{without_password(url)}: {' '.join(str(error.orig).split())}") from error
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise Failed(f"{without_password(url)}: {str(error).splitlines()[0]}") from error


@contextmanager
def _connected(url: str) -> Iterator["sa.Connection"]:
    """A connection with one transaction, which is committed at the end."""
    import sqlalchemy as sa

    scheme, _, rest = url.partition("://")
    with _translated(url):
        engine = sa.create_engine(f"{_DRIVERS.get(scheme, scheme)}://{rest}", poolclass=sa.pool.NullPool)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()


@contextmanager
def query(url: str, text: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Yield the columns of a query and its rows, of which the server sends a thousand at a time. Raises Failed."""
    with _connected(url) as connection, _translated(url):
        # As written: a colon or a percent sign in it is no parameter.
        how = {"stream_results": True, "max_row_buffer": _ROWS, "no_parameters": True}
        cursor = connection.execution_options(**how).exec_driver_sql(text)
        if not cursor.returns_rows:
            raise Failed("source.query gives no rows: it has to be a SELECT")
        yield list(cursor.keys()), iter(cursor)
        # Only read.
        connection.rollback()
