"""Errors of a database: where the setting is written, and a remedy."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import StateError
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.shared.database_errors import describe_database_error
from runner.store.shared.postgres import PostgresConnection
from tests.support.servers import NewDatabase, query_server

ORIGIN = "/p/runner.toml:1: state"
PLACE = StatePlace(Path(), "postgresql://me:secret@db/ops", "s3://b/x", "p", ORIGIN)
SERVER = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (
            "fe_sendauth: no password supplied",
            "put it into the file that PGPASSFILE names, with mode 600 and lines ",
        ),
        (
            'FATAL:  password authentication failed for user "me"',
            f"correct {ORIGIN}, or the file that PGPASSFILE ",
        ),
        ("failed to resolve host 'db': unknown", f"start the server, or correct host and port in {ORIGIN}"),
        ('FATAL:  no pg_hba.conf entry for host "::1"', "allow this host and user in pg_hba.conf"),
    ],
)
def test_refused_user_is_told_the_remedy(text: str, remedy: str) -> None:
    message = describe_database_error(PLACE, SERVER + text)
    assert message.startswith(f"postgresql://me@db/ops ({ORIGIN}) cannot be used: connection failed: ")
    assert f"{text}; {remedy}" in message


def test_lines_of_the_client_are_joined() -> None:
    text = (
        "connection failed: x\n\tIs the server running?\nMultiple attempts failed. All failures were:\n- host: y"
    )
    shown = "connection failed: x: Is the server running?: Multiple attempts failed. All failures were: - host: y"
    assert describe_database_error(PLACE, text).endswith(f"cannot be used: {shown}")


def message_of(place: StatePlace) -> str:
    with pytest.raises(StateError) as caught, closing(PostgresConnection(place)):
        pass
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_server_that_is_away_is_named_with_its_setting() -> None:
    message = message_of(replace(PLACE, database="postgresql://me:secret@127.0.0.1:1/ops"))
    assert "Connection refused: Is the server running" in message
    assert message.endswith(f"; start the server, or correct host and port in {ORIGIN}")


@pytest.mark.server
def test_missing_database_or_user_is_named(postgres_url: str) -> None:
    missing = replace(PLACE, database=postgres_url.replace("/postgres", "/none"))
    assert message_of(missing).endswith(f"; make it with `createdb none`, or correct {ORIGIN}")
    nobody = replace(PLACE, database=postgres_url.replace("tester", "nobody"))
    assert message_of(nobody).endswith(f"; correct the user in {ORIGIN}")


@pytest.mark.server
def test_user_who_may_make_no_tables_is_told_the_grant(tmp_path: Path, new_database: NewDatabase) -> None:
    with new_database("postgres") as url:
        query_server(url, "CREATE ROLE reader LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        place = replace(PLACE, folder=tmp_path, database=url.replace("tester:secret", "reader"))
        with pytest.raises(StateError) as caught, open_store(replace(place, files=None), lock=False):
            pass
        query_server(url, "DROP ROLE reader")
    grant = f"GRANT CREATE ON SCHEMA public TO the user of {ORIGIN}"
    assert str(caught.value).endswith(f"permission denied for schema public; its owner allows it with {grant}")
