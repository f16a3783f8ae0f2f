"""Create and upgrade the tables of a database that machines share.

Tables are not upgraded while a runner holds a lease. An older one that holds none cannot take one afterwards, and
one that was suspended for longer than its lease has lost it.
"""

from contextlib import closing
from importlib.resources import files

from runner.errors import StateError, StateLocked
from runner.store.place import StatePlace
from runner.store.shared.lease import check_version, read_seconds
from runner.store.shared.postgres import SCHEMA_VERSION, PostgresConnection

# Any number will do, as long as no other program uses it on the same database.
_SCHEMA_LOCK = 7_255_118
# Not to_regclass: it may answer from before the lock was waited for.
_HAS_TABLES = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'state_version' AND pg_table_is_visible(oid))"
_HOLDERS = "SELECT project, spec, holder FROM lease WHERE until + make_interval(secs => ?) >= now() ORDER BY 1, 2"


def prepare_schema(connection: PostgresConnection, place: StatePlace) -> None:
    """Create the tables if the database has none yet, and upgrade those of an older runner.

    Raises StateError if a newer runner has written them, and StateLocked while an older one is using them.
    """
    if _is_current(connection, place):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(?)", (_SCHEMA_LOCK,))
        if not _has_tables(connection):
            connection.execute(_read_script("postgres.sql"))
            connection.execute("INSERT INTO state_version VALUES (?)", (SCHEMA_VERSION,))
        elif not _is_current(connection, place):
            _upgrade(connection, place)


def _has_tables(connection: PostgresConnection) -> bool:
    return bool(connection.execute(_HAS_TABLES).fetchone()[0])


def _is_current(connection: PostgresConnection, place: StatePlace) -> bool:
    return _has_tables(connection) and check_version(connection, place) == SCHEMA_VERSION


def _read_script(name: str) -> str:
    return files("runner.store").joinpath("migrations", name).read_text("utf-8")


def _upgrade(connection: PostgresConnection, place: StatePlace) -> None:
    """Upgrade the tables version by version, inside the caller's transaction."""
    # Nobody takes or renews a lease from here to the COMMIT.
    connection.execute("LOCK TABLE lease IN ACCESS EXCLUSIVE MODE")
    if holders := _find_holders(connection):
        names = "; ".join(f"{spec!r} of project {project!r} ({holder})" for project, spec, holder in holders)
        message = f"{place} must be upgraded, but runners are using {names}: wait until they finish, or stop them"
        raise StateLocked(message, lambda: _is_unused(place))
    connection.execute("UPDATE lease SET owner = ''")
    for old in range(check_version(connection, place), SCHEMA_VERSION):
        connection.execute(_read_script(f"postgres_{old}.sql"))
    connection.execute("UPDATE state_version SET version = ?", (SCHEMA_VERSION,))


def _find_holders(connection: PostgresConnection) -> list[tuple[str, str, str]]:
    return list(connection.execute(_HOLDERS, (read_seconds()[1],)).fetchall())


def _is_unused(place: StatePlace) -> bool:
    """Return whether no runner holds a lease; without a server, some may."""
    try:
        with closing(PostgresConnection(place)) as connection:
            return not _find_holders(connection)
    except StateError:
        return False
