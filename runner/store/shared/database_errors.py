"""Errors of PostgreSQL and its client as messages: one line, where the setting is written, and a remedy."""

import re

from runner.spec.redact import redact_passwords
from runner.store.place import StatePlace

_PGPASS = "the file that PGPASSFILE names, with mode 600 and lines host:port:database:user:password"
_REMEDIES = {
    re.compile("no password supplied"): f"put it into {_PGPASS}",
    re.compile("password authentication failed"): f"correct {{origin}}, or {_PGPASS}",
    re.compile(
        "Connection refused|could not translate host name|failed to resolve host|timeout expired"
        "|failed: No such file or directory"
    ): "start the server, or correct host and port in {origin}",
    re.compile(r"permission denied for schema (?P<name>\S+)"): (
        "its owner allows it with GRANT CREATE ON SCHEMA {name} TO the user of {origin}"
    ),
    re.compile("permission denied for table"): (
        "the user of {origin} must be the one that made the tables, or be granted all on them"
    ),
    re.compile('database "(?P<name>.*?)" does not exist'): "make it with `createdb {name}`, or correct {origin}",
    re.compile('role "(?P<name>.*?)" does not exist'): "correct the user in {origin}",
    re.compile("no pg_hba.conf entry"): "allow this host and user in pg_hba.conf of the server",
}
# What the server adds about the place in a statement.
_STATEMENT = re.compile(r"\nLINE \d+: .*", re.DOTALL)


def describe_database_error(place: StatePlace, text: str) -> str:
    """Return the message about an error of the database of a shared state."""
    lines = [line.strip().rstrip(":") for line in _STATEMENT.sub("", text).splitlines()]
    shown = redact_passwords(": ".join(line for line in lines if line))
    message = f"{redact_passwords(str(place.database))} ({place.database_origin}) cannot be used: {shown}"
    remedy = _find_remedy(place.database_origin, text)
    return message if remedy is None else f"{message}; {remedy}"


def _find_remedy(origin: str, text: str) -> str | None:
    for pattern, remedy in _REMEDIES.items():
        if (found := pattern.search(text)) is not None:
            return remedy.format(origin=origin, **found.groupdict())
    return None
