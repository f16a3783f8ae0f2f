"""Runs, batches and rows, as the database holds them."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a spec. Times are Unix seconds; `rows` counts the rows of the source.

    `state`: preparing (bodies are being written), prepared (nothing sent yet), running, finished, or
    abandoned for a newer run. A purged run has no payloads any more; of a recovered one, every batch may have
    been sent before. `mode` is how its batches are sent, batch or sync, as decided when it was agreed to;
    `started_at` is when that was, by the API's clock, and `estimated` what it was to cost then, in US dollars.
    """

    number: int
    id: str
    spec: str
    spec_path: str
    fingerprint: str
    state: str
    rows: int
    is_canceled: bool
    created_at: float
    finished_at: float | None
    sinks: str
    purged_at: float | None
    recovered_at: float | None
    rows_sha256: str | None
    spec_sha256: str | None
    mode: str
    started_at: float | None
    estimated: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """One remote batch to be, or that was. Sizes are bytes; times are Unix seconds by the API's clock.

    `state`: prepared, submitting (the intent is recorded, the answer is not), submitted, ended, collected.
    `search_from` is the creation of the newest batch that was there before the create. `unknown_at` is when it
    was first asked whether a create without an answer was accepted, `unknown_since` the same by the local clock;
    of a submitted batch `unknown_at` says that a person took it for this one, which is not proved.
    `faulty_since` is when the API first did not know it any more, `downloads` how many downloads lacked results.
    `refusal` is what the API said when it refused it, `refused_after` how many batches of the run had been
    accepted when it, or the batch that it is a part of, was first refused. `counts` is the JSON of the API's
    request_counts at the end, `usage` of the tokens that its answers used, `odd` of how many lines of its
    results were of no use, by kind. `lane` is how it is sent: batch, sync (one request after the other, through
    the Messages API; it is submitted while that goes on), or canary (sync, before any other). Amounts are US
    dollars, None if no price is known: `reserved` is the most it can cost, set when it is sent, `cost` what it
    did cost, `synchronous` what that would have been synchronously. `canceled_at` is when the run asked for it
    to be canceled because it could not wait: then its rows are sent again.
    """

    run: int
    round: int
    batch: int
    state: str
    requests: int
    bytes: int
    sha256: str
    intent_at: float | None
    base_url: str | None
    batch_id: str | None
    unknown_at: float | None
    request_id: str | None
    workspace_id: str | None
    created_at: float | None
    ended_at: float | None
    counts: str
    usage: str
    faulty_since: float | None
    downloads: int
    refused_after: int | None
    refusal: str | None
    odd: str
    results_sha256: str | None
    search_from: float | None
    unknown_since: float | None
    lane: str
    reserved: float | None
    cost: float | None
    synchronous: float | None
    canceled_at: float | None


class Unsent(NamedTuple):
    """A row that is not sent; `offset` and `length` are bytes, of its line in the results file 0, 0."""

    row: int
    outcome: str
    offset: int
    length: int
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A remote batch whose results say which batch of a run it is."""

    batch_id: str
    round: int
    batch: int
    requests: int
    created_at: float
