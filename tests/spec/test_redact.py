"""Secrets of a URL are neither shown nor recorded."""

import json
from pathlib import Path

import pytest

from runner import load_spec
from runner.errors import InputError
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.record import make_record
from tests.support.projects import write_job

SECRETS = [
    "postgresql://me:PASSWORD@db/x", "postgresql://me@corp:PASSWORD@db/x", "postgresql://me:x@PASSWORD@db/x",
    "postgresql://me:pa/PASSWORD@db/x", "postgresql://db/x?user=me&password=PASSWORD",
    "postgresql:///x?host=db&sslpassword=PASSWORD&a=b", "postgresql://me:x@PASSWORD:99x@127.0.0.1:port/x",
    "https://me:PASSWORD@host/a.csv", "https://host/a.csv?sv=1&sig=PASSWORD", "p.q://me:PASSWORD@h/d",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3DPASSWORD", "pg:me:PASSWORD",
]  # fmt: skip


@pytest.mark.parametrize("url", SECRETS)
def test_no_secret_of_a_url_is_shown_or_recorded(tmp_path: Path, url: str) -> None:
    is_file = url.startswith("https")
    source = {"type": "csv", "path": url} if is_file else {"type": "sql", "url": url, "query": "SELECT 1"}
    write_job(tmp_path, source=source)
    try:
        spec = load_spec(tmp_path / "job.yaml")
        assert "PASSWORD" not in json.dumps(make_record(spec))
        list(read_rows(spec.source, Inputs(tmp_path)))
    except InputError as error:
        assert "PASSWORD" not in str(error)
