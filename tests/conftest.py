"""Fixtures of all tests."""

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from runner import Summary, load_spec, run
from tests.support.projects import write_job
from tests.support.servers import NewDatabase, database_of_server, database_server, postgres, s3
from tests.support.simulator import end_batches, simulator

# Tests start a thousand processes, and without bytecode on disk each would compile the whole package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test may depend on speed.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_MEMORY = Path("/dev/shm")  # noqa: S108 - the tests write thousands of small files and sync each
_NEEDED = 2 << 30


def pytest_configure() -> None:
    """Keep temporary files in memory if there is room, unless TMPDIR says otherwise."""
    if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _NEEDED:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server that all tests of a worker share; each test has a project of its own."""
    with postgres() as url:
        yield url


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """A function that gives the URL of an empty database; those of PostgreSQL are on the server of the worker."""

    def make(name: str) -> AbstractContextManager[str]:
        if name == "postgres":
            return database_of_server(request.getfixturevalue("postgres_url"))
        return database_server(name, tmp_path)

    return make


@pytest.fixture
def run_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """Run the job of `tmp_path` against a simulator with these faults."""
    write_job(tmp_path)

    def finish(
        *,
        mix: Any = lambda _: "succeeded",
        on: Any = lambda _: None,
        seconds: float | None = None,
        folder: Path = tmp_path / "api",
        workspace: str = "wrkspc_simulated",
        faults: Sequence[str] = (),
        lag: float = 0.5,
        usage: Any = lambda _, usage: usage,
        spec: Any = None,
        **options: Any,
    ) -> Summary:
        # Without waiting, no batch may end before the process does, however slow the machine is.
        is_followed = options.get("wait", True)
        lasts = (0.2 if is_followed else 600) if seconds is None else seconds
        settings = {"workspace": workspace, "faults": faults, "fault_delay": lag, "usage": usage}
        with simulator(folder, mix=mix, on=on, seconds=lasts, **settings) as environ:
            for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
                monkeypatch.setenv(name, environ[name])
            try:
                return run(load_spec(spec or tmp_path / "job.yaml"), **{"consent": True, **options})
            finally:
                if not is_followed and seconds is None:
                    end_batches(folder)

    return finish


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of a server of S3 for all tests of a process."""
    with s3() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket that keeps versions, and its credentials in the environment."""
    import boto3

    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    name, client = f"bucket-{uuid.uuid4()}", boto3.client("s3")
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    return name


@pytest.fixture(params=["s3", "file"])
def files_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty folder in an object store. The test is skipped where its client is not installed."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    if request.param == "file":
        return f"file://{tmp_path}/bucket/the runs"
    return f"s3://{request.getfixturevalue('bucket')}/team/runs"
