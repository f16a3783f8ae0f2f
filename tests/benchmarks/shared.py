"""Measure what a shared state costs: `python -m tests.benchmarks.shared [BATCHES] [ROWS]`.

Runs BATCHES batches of one row, then ROWS rows in one batch: with the state in the project folder, and with it
in PostgreSQL and files in moto's S3. Prints CPU of the runner's process per batch and per row, the requests to
S3, and the size of all tables. Neither the server of PostgreSQL nor that of S3 counts for the CPU.
"""

import logging
import re
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import boto3
import psycopg

from tests.benchmarks.batches import cpu_seconds
from tests.support.servers import postgres, s3

_AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
_SIZES = b"SELECT sum(pg_total_relation_size(relid)) FROM pg_statio_user_tables"
_REQUEST = re.compile(r'"([A-Z]+) /')


class Used(NamedTuple):
    """The costs of a run: CPU seconds, requests to S3 by method, and the objects and bytes of tables it left."""

    seconds: float
    requests: Counter[str]
    objects: int
    table_bytes: int


@contextmanager
def _counting_requests() -> Iterator[Counter[str]]:
    """Count the requests that the server of S3 logs, by method, and print none."""
    log, counted = logging.getLogger("werkzeug"), Counter[str]()

    def count(record: logging.LogRecord) -> bool:
        if (found := _REQUEST.search(record.getMessage())) is not None:
            counted[found[1]] += 1
        return False

    log.setLevel(logging.INFO)
    log.addFilter(count)
    try:
        yield counted
    finally:
        log.removeFilter(count)


def _table_bytes(url: str) -> int:
    with psycopg.connect(url) as database:
        [(size,)] = database.execute(_SIZES)
    return int(size)


def measure(rows: int, requests: int) -> Used:
    """Run a job with a new database and a new bucket."""
    with _counting_requests() as counted, postgres() as database, s3() as url:
        secret = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        # The buckets of moto outlive its servers.
        client, bucket = boto3.client("s3", endpoint_url=url, **secret), f"bucket-{uuid.uuid4()}"
        client.create_bucket(Bucket=bucket)
        counted.clear()
        place = {"RUNNER_STATE": database, "RUNNER_FILES": f"s3://{bucket}/runs", "RUNNER_PROJECT": "measured"}
        seconds = cpu_seconds(rows, requests, **_AWS, **place, AWS_ENDPOINT_URL=url)
        sent = counted.copy()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return Used(seconds, sent, sum(page["KeyCount"] for page in pages), _table_bytes(database))


def _print_seconds(place: str, seconds: Sequence[float], batches: int, rows: int) -> None:
    """Print CPU of a run of one row, of a row, and of a batch besides its row."""
    one, many, long = seconds
    row = (long - one) / (rows - 1)
    batch = (many - one) / (batches - 1) - row
    print(f"{place}: {one:.2f} CPU s for a run of one row, {row * 1e6:.0f} µs a row, {batch * 1e3:.1f} ms a batch")


def main(batches: int, rows: int) -> None:
    """Measure a run of one row, of many batches, and of many rows, in both places."""
    sizes = ((1, 1), (batches, 1), (rows, 100_000))
    _print_seconds("in the folder", [cpu_seconds(*size) for size in sizes], batches, rows)
    one, many, long = used = [measure(*size) for size in sizes]
    _print_seconds("shared", [run.seconds for run in used], batches, rows)
    for name in sorted(many.requests):
        more = (many.requests[name] - one.requests[name]) / (batches - 1)
        print(f"{name}: {one.requests[name]} for one batch, {more:.2f} for each more")
    more = (many.objects - one.objects) / (batches - 1)
    print(
        f"objects: {one.objects} for one batch, {more:.2f} for each more; {long.objects} for {rows:,} rows in one"
    )
    size = (many.table_bytes - one.table_bytes) / (batches - 1)
    print(f"tables: {one.table_bytes:,} bytes for one batch, {size:,.0f} for each more", end="; ")
    print(f"{long.table_bytes:,} for {rows:,} rows in one")
    for requests in (10_000, 100_000):
        print(f"computed: {size * 1_000_000 / requests:,.0f} bytes for a million rows, {requests:,} to a batch")


if __name__ == "__main__":
    main(*[int(word) for word in sys.argv[1:]] or [1_000, 100_000])
