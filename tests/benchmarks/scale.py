"""Compute what binds a job of millions of rows: `python -m tests.benchmarks.scale`.

Prints the hours that the API's queue, upload, disk and CPU would need alone, and which of them needs most. Costs
of the runner are measured, limits are those of the API's documents; all hours are computed.

The queue is simulated. All requests of a batch are in it until the batch ends, after a time that does not depend
on what else is in it: lognormal with a median of 30 minutes, a day at most. The next batch is sent once it fits.
Not in the model: refused creates and the pauses after them, requests that leave before their batch ends, rows
that are sent again, limits of spending and of calls to batches a minute, and the 1 TB that the Files API stores.
"""

import heapq
import math
import random
from dataclasses import dataclass, replace
from typing import NamedTuple

# Measured on two shared cores, 2026-11. CPU is that of one process. Fixed costs of a few seconds are left out.
ROW_SECONDS = 62e-6  # tests.benchmarks.rows 100000: `run`, with its outputs; 52 for a million rows
SOURCE_BYTES = 60  # tests.benchmarks.rows: a row of its file
BODY_BYTES = 3.5 * SOURCE_BYTES  # tests.benchmarks.rows, on disk
RESULT_BYTES = 10 * SOURCE_BYTES  # tests.benchmarks.rows, on disk
STATE_BYTES = (1.7 + 0.9) * SOURCE_BYTES  # tests.benchmarks.rows, on disk: rows and index files
BATCH_SECONDS = 9.8e-3  # tests.benchmarks.batches 10000
PDF_SECONDS = 12.7e-3  # tests.benchmarks.documents 1000 1000: the difference of 1,000 and 100 files
UPLOADED_PDF_SECONDS = 7.1e-3  # tests.benchmarks.documents 1000 1000 --upload: the same
PDF_BODY_BYTES = 1_300  # tests.benchmarks.documents 1000 1000: on disk besides results, for either

# Limits of the API: platform.claude.com, rate limits (2026-08-22) and Files API (since 2026-08-20).
QUEUES = {"Start": 200_000, "Build": 300_000, "Scale": 500_000}
UPLOADS_A_MINUTE = 500

# Assumed.
PDF_BYTES = 1_000_000
MEDIAN_SECONDS, SIGMA, DAY = 1_800, 0.8, 86_400
DISK_BYTES_A_SECOND = 200e6
REQUESTS = 10_000  # to a batch: the default of `batch.max_requests`
BATCH_BYTES = 200e6  # the default of `batch.max_bytes`
LINKS = {"100 Mbit/s": 12.5e6, "1 Gbit/s": 125e6}
HOUR = 3_600


@dataclass(frozen=True)
class Job:
    """A job: its rows, how many of them fit into a batch, and what each costs."""

    name: str
    rows: int
    requests: int
    seconds: float
    sent_bytes: float
    disk_bytes: float
    uses_files_api: bool = False

    @property
    def batches(self) -> int:
        return -(-self.rows // self.requests)


class Hours(NamedTuple):
    """The hours that each part needs alone: the slowest batch without a limit of the queue, and what that adds."""

    slowest: float
    queue: float
    files_api: float
    upload: float
    disk: float
    cpu: float


NAMES = Hours("slowest batch", "queue", "Files API", "upload", "disk", "CPU")  # type: ignore[arg-type]


def make_text(millions: int) -> Job:
    """Return a job of short prompts."""
    disk = STATE_BYTES + BODY_BYTES + RESULT_BYTES
    return Job(f"{millions} M rows", millions * 1_000_000, REQUESTS, ROW_SECONDS, BODY_BYTES, disk)


def make_documents(*, upload: bool) -> Job:
    """Return a job of a million PDFs: through the Files API, or inline in base64 that is made while it is sent."""
    disk, rows = PDF_BODY_BYTES + RESULT_BYTES, 1_000_000
    if upload:
        sent = PDF_BYTES + PDF_BODY_BYTES
        return Job("1 M PDFs, uploaded", rows, REQUESTS, UPLOADED_PDF_SECONDS, sent, disk, uses_files_api=True)
    sent = PDF_BYTES * 4 // 3 + PDF_BODY_BYTES
    return Job("1 M PDFs, inline", rows, int(BATCH_BYTES // sent), PDF_SECONDS, sent, disk)


def simulate_queue(job: Job, queue: float, send_seconds: float = 0.0, seed: int = 1) -> float:
    """Return the hours until the last batch has ended; each is sent in so many seconds, after the one before."""
    chance, ends, free = random.Random(seed), list[float](), queue
    now = last = 0.0
    for _ in range(job.batches):
        while free < job.requests:
            now = max(now, heapq.heappop(ends))
            free += job.requests
        now += send_seconds
        end = now + min(chance.lognormvariate(math.log(MEDIAN_SECONDS), SIGMA), DAY)
        heapq.heappush(ends, end)
        free -= job.requests
        last = max(last, end)
    return last / HOUR


def compute_hours(job: Job, queue: int, keys: int, link: float) -> Hours:
    """Return the hours of each part; each organization has its own queue, and all share a process and a link."""
    own = replace(job, rows=job.rows // keys)
    slowest = simulate_queue(own, math.inf)
    return Hours(
        slowest=slowest,
        queue=simulate_queue(own, queue) - slowest,
        files_api=own.rows / UPLOADS_A_MINUTE / 60 if job.uses_files_api else 0.0,
        upload=job.rows * job.sent_bytes / link / HOUR,
        disk=job.rows * job.disk_bytes / DISK_BYTES_A_SECOND / HOUR,
        cpu=(job.rows * job.seconds + job.batches * BATCH_SECONDS) / HOUR,
    )


def simulate_whole(job: Job, queue: int, keys: int, link: float, cpu: float) -> float:
    """Return the hours of the whole job, as if all CPU were used before the first batch is sent."""
    own = replace(job, rows=job.rows // keys)
    upload = own.requests * own.sent_bytes * keys / link
    files_api = own.requests / UPLOADS_A_MINUTE * 60 if job.uses_files_api else 0.0
    return cpu + simulate_queue(own, queue, max(upload, files_api))


def print_line(job: Job, tier: str, keys: int, link: str) -> None:
    hours = compute_hours(job, QUEUES[tier], keys, LINKS[link])
    whole = simulate_whole(job, QUEUES[tier], keys, LINKS[link], hours.cpu)
    binding = str(NAMES[hours.index(max(hours))])
    shown = [f"{hour:.1f}" if hour else "" for hour in hours]
    stored = f"{job.rows * job.disk_bytes / 1e9:.0f}"
    print(f"| {' | '.join([job.name, tier, str(keys), link, *shown, stored, f'{whole:.1f}', binding])} |")


def main() -> None:
    names = ["job", "tier", "organizations", "link", *(f"{name}, h" for name in NAMES)]
    names += ["disk, GB", "whole, h", "binds"]
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for tier in QUEUES:
        for millions in (1, 10, 50, 100):
            print_line(make_text(millions), tier, 1, "100 Mbit/s")
    for keys in (2, 4, 8):
        print_line(make_text(100), "Scale", keys, "100 Mbit/s")
    for upload in (False, True):
        print_line(make_documents(upload=upload), "Start", 1, "100 Mbit/s")
        for keys in (1, 2, 4, 8):
            print_line(make_documents(upload=upload), "Scale", keys, "1 Gbit/s")


if __name__ == "__main__":
    main()
