"""Machines that share a PostgreSQL and an S3, and of which nothing stays but what is there."""

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psycopg

from tests.support.servers import postgres, s3

LEASE_SECONDS = 1.0
WAIT = ("--wait-lock", "10m")
_AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
_BUCKET = "runs"


@contextmanager
def shared_services() -> Iterator[dict[str, str]]:
    """Serve PostgreSQL and S3; yield the variables by which runners find them."""
    # It would print each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with postgres() as database, s3() as objects:
        make_bucket(objects, _BUCKET)
        shared = {"RUNNER_STATE": database, "RUNNER_FILES": f"s3://{_BUCKET}/proof"}
        yield {**_AWS, "AWS_ENDPOINT_URL": objects, **shared, "RUNNER_LEASE_SECONDS": str(LEASE_SECONDS)}


def make_bucket(server: str, name: str) -> None:
    """Create a bucket."""
    secret = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=server, **secret).create_bucket(Bucket=name)


def as_project(shared: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a project that is new; without shared services, none."""
    return {**shared, "RUNNER_PROJECT": uuid.uuid4().hex} if shared else {}


def query(environ: Mapping[str, str], statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query about the project, whose name is its only parameter."""
    with psycopg.connect(environ["RUNNER_STATE"], autocommit=True) as database:
        return database.execute(statement.encode(), [environ["RUNNER_PROJECT"]]).fetchall()


def count_leases(environ: Mapping[str, str]) -> int:
    """Return how often leases of the project were taken; 0 before the schema is made."""
    try:
        return int(query(environ, "SELECT coalesce(sum(fence), 0) FROM lease WHERE project = %s")[0][0])
    except psycopg.errors.UndefinedTable:
        return 0


def make_machine(root: Path, number: int) -> Path:
    """Return the empty folder of a new machine."""
    folder = root / f"machine {number}"
    folder.mkdir(parents=True)
    return folder
