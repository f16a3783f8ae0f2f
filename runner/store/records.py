"""Records of runs, batches and rows, as the database stores them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

import msgspec

from runner.errors import StateError

T = TypeVar("T", "Run", "Batch", "RecoveredBatch")


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a spec. Times are Unix seconds; `rows` counts the rows of the source.

    - `state`: preparing (bodies are being written), prepared (nothing sent yet), running, finished, or abandoned
      (replaced by a newer run).
    - `purged_at`: when its payloads were deleted.
    - `recovered_at`: when it was recovered. Any batch of a recovered run may have been sent before.
    - `mode`: how its batches are sent, batch or sync, as decided on consent.
    - `started_at`: when the user gave consent, by the API's clock. A recovered run has none until it is confirmed.
    - `estimated_cost`: the cost estimated at that time, in US dollars.
    - `failures`: its failed rows by reason, as JSON, once its outputs are written; it has parts of answers.
    - `evaluation`: the figures of `evaluate`, as JSON, once its outputs are written.
    - `is_pilot`: a sample of the rows, sent before the whole job.
    - `cache`: the time to live of the cache marks that the runner has set; None if it sets none.
    - `unsent_index`, `duplicate_index`: the SHA-256 of its index files of rows that are in no batch, if any are.
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
    estimated_cost: float | None
    failures: str | None
    evaluation: str | None
    is_pilot: bool
    cache: str | None
    unsent_index: str | None
    duplicate_index: str | None

    @property
    def needs_consent(self) -> bool:
        """True if a recovered run may only collect: nobody has agreed to what it would send."""
        return self.recovered_at is not None and self.started_at is None and not self.is_canceled


@dataclass(frozen=True, slots=True)
class Batch:
    """One remote batch, before or after it is sent.

    Sizes are bytes. Times are Unix seconds by the API's clock. Amounts are US dollars, None if no price is known.

    - `state`: prepared, submitting (the intent is recorded, the answer is not), submitted, ended, collected.
    - `search_from`: creation time of the newest batch that existed before the create.
    - `search_started_at`: when the runner first checked whether a create without an answer was accepted.
      On a submitted batch it means that a person chose this remote batch without proof.
    - `search_started_local`: the time of that first check by the local clock.
    - `not_found_since`: when the API first reported the batch as not found.
    - `incomplete_downloads`: number of downloads with missing results.
    - `incomplete_since`, `incomplete_at`: when the first and the last of them ended.
    - `rejection`: the API's message when it rejected the batch.
    - `accepted_before_rejection`: number of accepted batches of the run when this batch, or the
      batch it was split from, was first rejected.
    - `counts`: the API's request_counts at the end, as JSON.
    - `usage`: the tokens that its answers used, as JSON.
    - `ignored_lines`: number of unusable lines in its results by kind, as JSON.
    - `send_mode`: batch, sync (single requests to the Messages API; the state is submitted meanwhile),
      or canary (sync, before all others).
    - `reserved_cost`: upper bound of its cost, set when it is sent. On a submitting batch, None means that it was
      not sent as far as the state knows.
    - `doubted_cost`: upper bound of its earlier creates that got no answer and were not found: they may be paid.
    - `cost`: its actual cost.
    - `synchronous_cost`: the cost of the same requests if sent synchronously.
    - `cache_saving`: what the prompt cache has saved of its cost; negative if writing it cost more.
    - `canceled_at`: when the run canceled it because it could not wait. Its rows are then sent again.
    - `missing_results`: number of its rows that the API counted, but for which it never had a result.
    - `first_row`, `last_row`: the numbers of the first and the last row that it was prepared with.
    - `is_warmup`: its one request writes the cache that the requests of the other batches read.
    - `cache`: the time to live of the mark at the end of what all its requests begin with, if there is one.
    - `assumed_unsent_at`: when it was assumed that no remote batch exists, because the API refused its create or
      because the state knows of none. One look at the list settles it, without a grace period.
    - `request_index`, `result_index`: the SHA-256 of its index files; None for the second until it is collected,
      and for both once the run is purged.
    - `retries`: number of its rows that are sent again.
    - `account`: the name of the account that it was sent with; None if the settings had no accounts then. If it
      may have been sent with each of several, these with commas between them.
    - `queue`: the name of the API's queue that it was sent to; None if it is sent otherwise, or not yet.
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
    search_started_at: float | None
    request_id: str | None
    workspace_id: str | None
    created_at: float | None
    ended_at: float | None
    counts: str
    usage: str
    not_found_since: float | None
    incomplete_downloads: int
    accepted_before_rejection: int | None
    rejection: str | None
    ignored_lines: str
    results_sha256: str | None
    search_from: float | None
    search_started_local: float | None
    send_mode: str
    reserved_cost: float | None
    cost: float | None
    synchronous_cost: float | None
    canceled_at: float | None
    assumed_unsent_at: float | None
    incomplete_since: float | None
    incomplete_at: float | None
    missing_results: int
    doubted_cost: float
    first_row: int
    last_row: int
    is_warmup: bool
    cache: str | None
    cache_saving: float | None
    request_index: str | None
    result_index: str | None
    retries: int
    account: str | None
    queue: str | None

    @property
    def label(self) -> str:
        """Its name in messages: its number, and its round from the second round on."""
        return f"batch {self.batch}" if self.round == 1 else f"batch {self.batch} of round {self.round}"


class SettledRow(NamedTuple):
    """A row that is not sent; `offset` and `length` locate its line, if any, in results file 0, 0, in bytes."""

    row: int
    outcome: str
    offset: int | None
    length: int | None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class RecoveredBatch:
    """A remote batch that its results identify as a certain batch of a run."""

    batch_id: str
    round: int
    batch: int
    requests: int
    created_at: float


def list_columns(kind: type[Run] | type[Batch] | type[RecoveredBatch]) -> str:
    """Return the columns of a record, as a query names them."""
    return ", ".join(f'"{field.name}"' for field in fields(kind))


def read_record(kind: type[T], row: Sequence[Any]) -> T:
    """Return a record from its row. Raises StateError for a value of another type, as in a damaged page."""
    values = {field.name: value for field, value in zip(fields(kind), row, strict=True)}
    values |= {name: bool(value) for name, value in values.items() if name.startswith("is_")}
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise StateError(f"the database contains a damaged {kind.__name__.lower()}: {error}") from error
