"""The spec of the recipe for dbt reads the table of a model, and writes the table that is a source."""

import csv
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
import yaml

from runner import load_spec
from tests.support import ROOT
from tests.support.servers import postgres, psql_variables, query_server
from tests.support.simulator import simulator

RECIPE = ROOT / "specs" / "recipes" / "dbt"
pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of a database with the table of the model, as dbt makes it."""
    with postgres() as url:
        table = "analytics.tickets_to_label"
        with (RECIPE / "seeds" / "tickets.csv").open() as file:
            rows = [tuple(one.values()) for one in csv.DictReader(file) if one["body"]]
        query_server(url, "CREATE SCHEMA analytics", f"CREATE TABLE {table} (id text, subject text, body text)")
        with psycopg.connect(url) as connection:
            connection.cursor().executemany(f"INSERT INTO {table} VALUES (%s, %s, %s)".encode(), rows)  # noqa: S608
        yield url


def test_the_spec_labels_the_rows_of_the_model(
    tmp_path: Path, database: str, with_runner: Callable[[Mapping[str, str]], dict[str, str]]
) -> None:
    (tmp_path / "labels.yaml").write_bytes((RECIPE / "labels.yaml").read_bytes())
    with simulator(tmp_path / "api") as environ:
        own = with_runner({**environ, **psql_variables(database)})
        for words in (["runner", "validate", "labels.yaml"], ["runner", "run", "labels.yaml", "--yes"]):
            subprocess.run(words, cwd=tmp_path, env=own, check=True, capture_output=True)
    found = query_server(database, "SELECT id, outcome FROM analytics.labels ORDER BY id")
    assert [tuple(row) for row in found] == [(f"T-100{number}", "succeeded") for number in (1, 2, 3)]


def test_the_source_of_dbt_is_the_table_of_the_sink(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in psql_variables(database).items():
        monkeypatch.setenv(name, value)
    [sink] = load_spec(RECIPE / "labels.yaml").sinks
    [source] = yaml.safe_load((RECIPE / "models" / "sources.yml").read_text("utf-8"))["sources"]
    assert [f"{source['schema']}.{table['name']}" for table in source["tables"]] == [sink.options["table"]]
    assert {column["name"] for column in source["tables"][0]["columns"]} <= set(sink.columns or ())
