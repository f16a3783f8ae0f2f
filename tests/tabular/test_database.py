"""Connections to databases: queries, missing files, and equal URLs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.tabular.database import DatabaseError, open_query
from tests.support.servers import database_server, query_server, write_table

pytestmark = pytest.mark.server


def test_closed_query_does_not_wait_for_remaining_rows(tmp_path: Path) -> None:
    with database_server("mariadb", tmp_path) as url:
        # It would take a minute.
        endless = "SELECT seq, SLEEP(0.001) FROM seq_1_to_60000"
        with open_query(url, endless) as (columns, rows):
            assert (columns[0], next(rows)[0]) == ("seq", 1)
        with (
            pytest.raises(DatabaseError, match="unexpected keyword argument 'sslmode'"),
            open_query(f"{url}?sslmode=on", "x"),
        ):
            pass


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///absent.db", "no such file"),
        ("pg:me:secret", "not a valid database URL"),
        ("sqlite://h:abc/x.db", "not a valid database URL"),
    ],
)
def test_missing_database_is_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatabaseError, match=words) as caught, open_query(url, "SELECT 1"):
        pass
    assert list(tmp_path.iterdir()) == []
    assert "secret" not in str(caught.value)


def test_two_urls_of_one_file_are_one_database(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with database_server("sqlite", tmp_path) as url:
        write_table(tmp_path, url, [{"id": "a", "n": 1}])
        spec = json.loads((tmp_path / "job.yaml").read_text())
        [sink] = spec["sinks"]
        spec["sinks"].append({**sink, "url": url.replace("/out/", "/out/../out/"), "table": "u"})
        (tmp_path / "job.yaml").write_text(json.dumps(spec))
        assert run_job().exit_code == 0
        assert query_server(url, "SELECT * FROM t") == query_server(url, "SELECT * FROM u") == [("a", "1")]
