"""Collect an ended batch: download its results, compare them with its requests, record outcomes."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from runner.api.client import Api
from runner.errors import ResultsIncomplete, StateError
from runner.files.atomic import atomic_write
from runner.files.digest import sha256_of
from runner.lifecycle.deliver.missing_results import MAX_EARLY_DOWNLOADS, are_counts_short
from runner.lifecycle.deliver.read_elsewhere import (
    WORTH_BYTES,
    check_elsewhere,
    pickle_rules,
    read_results_elsewhere,
)
from runner.lifecycle.deliver.read_results import BatchResults, Rules, check_output, read_results
from runner.requests.custom_id import custom_id_prefix
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext, batch_label, rows_of_batch
from runner.runs.result_reader import open_result_reader
from runner.store.records import Batch
from runner.store.run_batches import decode_column
from runner.text import pluralize
from runner.workers.run_tasks import WorkerPool

# Generous: a limit that is too low would withhold paid answers. A token has mostly under 16 bytes, JSON can double
# them, and thinking has a signature of about its own length.
_BYTES_PER_TOKEN = 64
_LINE_BYTES = 16_384
_BYTES_PER_REQUEST_BYTE = 8
_SERVER_TOOL_BYTES = 8_000_000
_SPARE_BYTES = 1_000_000


def collect_results(
    context: RunContext,
    batch: Batch,
    output_format: OutputFormat,
    download: Callable[[], str],
    pool: WorkerPool,
    *,
    is_last_try: bool,
    is_patient: bool,
    accept_loss: bool,
    resend_canceled: bool,
) -> Batch:
    """Download and read the results of an ended batch; a synchronous batch has them on disk already.

    `download` is the function of `plan_download`, and `pool` reads large results. With `resend_canceled`, canceled
    and expired rows are sent again, however often they were sent before. Returns the collected batch, in which
    every row has its outcome. If the user chose the wrong remote batch, so that all results are someone else's, it
    is submitting again.

    Raises ResultsIncomplete if results are missing. On the last try, rows without a result become `missing`
    instead, if the download seems intact or `accept_loss` is set. In a synchronous batch they do so at once. With
    `is_patient`, the last try does not count for results that the API counted: their rows are paid. Raises
    StateError if the database lost rows of the batch.
    """
    expected = set(rows_of_batch(context, batch))
    path = context.store.folder(context.run).results(batch.round, batch.batch)
    sha256 = download() if batch.send_mode == "batch" else sha256_of(path)
    rules = Rules(
        prefix=custom_id_prefix(context.run.id, batch.round, batch.batch),
        retry_on=context.spec.retry.on,
        rate=context.rate,
        is_batched=batch.send_mode == "batch",
        resend_canceled=resend_canceled,
        can_continue=batch.round < context.spec.retry.max_rounds,
    )
    found = _read_results(context, path, rules, output_format, pool, expected)
    if "foreign" in found.ignored_lines and not found.rows and batch.search_started_at is not None:
        return _resume_search(context, batch)
    is_last_try = is_last_try and (not is_patient or are_counts_short(batch, found))
    _check_complete(batch, expected, found, is_last_try=is_last_try, accept_loss=accept_loss)
    return _record_results(context, batch, expected, found, sha256)


def _read_results(
    context: RunContext,
    path: Path,
    rules: Rules,
    output_format: OutputFormat,
    pool: WorkerPool,
    expected: set[int],
) -> BatchResults:
    """Return the results of a batch from its file, after the checks of the spec."""
    found, is_large = None, pool.jobs != 1 and path.stat().st_size >= WORTH_BYTES
    job = pickle_rules(rules, context.spec.output)
    if is_large:
        found = read_results_elsewhere(path, job, pool, expected=expected)
    if found is None:
        found = read_results(path, rules, output_format, expected=expected)
    if output_format.checks:
        _check_outputs(context, path, found, output_format, (job, pool) if is_large else None)
    return found


def _check_complete(
    batch: Batch, expected: set[int], found: BatchResults, *, is_last_try: bool, accept_loss: bool
) -> None:
    """Raise ResultsIncomplete if results are missing that may still come, or StateError if they cannot come."""
    is_batched = batch.send_mode == "batch"
    total = max(len(expected), sum(decode_column(batch.counts, dict[str, int]).values()))
    is_damaged = not found.ignored_lines.keys().isdisjoint(("foreign", "malformed"))
    is_sound = accept_loss or not is_batched or not is_damaged
    if len(found.rows) < total and not ((is_last_try or not is_batched) and is_sound):
        if found.unknown_rows and batch.incomplete_downloads >= MAX_EARLY_DOWNLOADS:
            raise StateError(
                f"{batch_label(batch)}: its results have row {min(found.unknown_rows)}, which the state does not "
                "have in it, and another is missing: the database is damaged"
            )
        missing = total - len(found.rows)
        are = "is" if missing == 1 else "are"
        raise ResultsIncomplete(f"{missing:,} of {pluralize(total, 'result')} {are} missing from the download")


def _check_outputs(
    context: RunContext,
    path: Path,
    found: BatchResults,
    output_format: OutputFormat,
    elsewhere: tuple[bytes, WorkerPool] | None,
) -> None:
    """Run the checks on valid outputs, in row order: the checks see the rows, which are read in order."""
    retries = int("invalid" in context.spec.retry.on)
    with open_result_reader(context, output_format) as reader:
        valid = ((row, *place) for row, (name, _, *place) in sorted(found.rows.items()) if name == "succeeded")
        lines = ((row, reader.rows.read_line(row), reader.slices.read(path, *place)) for row, *place in valid)
        checked: Iterable[tuple[int, bytes, str | None]] = (
            ((row, fields, check_output(output_format, fields, line)) for row, fields, line in lines)
            if elsewhere is None
            else check_elsewhere(lines, *elsewhere)
        )
        for row, fields, outcome in checked:
            if outcome is None:
                # It raises the error.
                reader.rows.decode(row, fields)
            elif outcome != "succeeded":
                found.rows[row] = (outcome, retries, *found.rows[row][2:])


def _result_limits(context: RunContext, batch: Batch) -> tuple[int, int]:
    """Return the most bytes that the results of a batch, and one line of them, can have.

    An answer is made of its output tokens, and can quote its request. Server tools add what they find.
    """
    params = context.spec.params
    answer = _LINE_BYTES + _BYTES_PER_TOKEN * int(params["max_tokens"])
    found = _SERVER_TOOL_BYTES if params.get("tools") or params.get("mcp_servers") else 0
    longest = context.store.row_index.largest_request_of(batch)
    line = answer + found + _BYTES_PER_REQUEST_BYTE * longest + _SPARE_BYTES
    total = batch.requests * (answer + found) + _BYTES_PER_REQUEST_BYTE * batch.bytes + _SPARE_BYTES
    return total, line


def plan_download(context: RunContext, api: Api, batch: Batch) -> Callable[[], str]:
    """Return a function that downloads the results of a batch to their file, and returns its SHA-256.

    It does not use the database, so it can run in another thread.
    """
    path = context.store.folder(context.run).to_write.results(batch.round, batch.batch)
    max_bytes, max_line = _result_limits(context, batch)

    def download() -> str:
        sha256 = hashlib.sha256()
        with atomic_write(path, private=True) as file:
            for block in api.stream_results(batch.batch_id or "", max_bytes=max_bytes, max_line=max_line):
                file.write(block)
                sha256.update(block)
        return sha256.hexdigest()

    return download


def _record_results(
    context: RunContext, batch: Batch, expected: set[int], found: BatchResults, sha256: str
) -> Batch:
    is_unpaid = batch.send_mode == "batch" and are_counts_short(batch, found)
    # A request that was not processed is like one that expired.
    is_missing_retried = not {"missing", *(("expired",) if is_unpaid else ())}.isdisjoint(context.spec.retry.on)
    absent = ("missing", int(is_missing_retried), None, None)
    # A request that may have been paid for without an answer counts with the upper bound of its cost.
    unanswered = (expected - found.rows.keys()) | found.lost_rows
    if unanswered or found.unclear_costs:
        found.costs.append(_bound_unclear_cost(context, batch, unanswered, found.unclear_costs))
    rows = sorted(expected)
    outcomes = ((row, *found.rows.get(row, absent)) for row in rows)
    columns = {
        "usage": msgspec.json.encode(found.usage).decode(),
        "ignored_lines": msgspec.json.encode(found.ignored_lines).decode(),
        "not_found_since": None,
        "results_sha256": sha256,
        "missing_results": 0 if is_unpaid else len(expected) - len(found.rows),
        **({} if context.rate is None else found.amounts()),
    }
    batch = context.store.collect_batch(batch, outcomes, **columns)
    _report_results(context, batch, len(expected), found)
    return batch


def _report_results(context: RunContext, batch: Batch, expected: int, found: BatchResults) -> None:
    notes = [
        pluralize(len(found.rows), "result"),
        *(pluralize(count, f"{kind} line") for kind, count in found.ignored_lines.items()),
    ]
    if missing := expected - len(found.rows):
        notes.append(f"{missing:,} missing")
    context.report("collected", f"collected {', '.join(notes)}", batch)
    if "contradicting" in found.ignored_lines:
        context.report(
            "warning",
            "warning: rows have results that contradict each other: the one that succeeded was taken, or else "
            "the first",
            batch,
        )
    if found.lost_rows:
        lost = pluralize(len(found.lost_rows), "answer")
        line = f"warning: {lost} lost, and perhaps paid: a row that is sent again may be paid twice"
        context.report("warning", line, batch)
    for name, answers in found.usage.unreadable.items():
        context.report(
            "warning",
            f"warning: {name if name == 'usage' else f'usage.{name}'} of {pluralize(answers, 'answer')} cannot be "
            "read: their cost is unknown, and counts as the maximum",
            batch,
        )


def _bound_unclear_cost(
    context: RunContext, batch: Batch, unanswered: set[int], unclear_costs: Mapping[int, float]
) -> float:
    """Return the most that rows of unknown cost can have cost, by the sizes of their requests."""
    rate, index, is_batched = context.rate, context.store.row_index, batch.send_mode == "batch"
    if rate is None:
        return 0.0
    sizes = dict(zip(index.rows_of(batch), index.request_sizes_of(batch), strict=True))
    lost = rate.cost_upper_bound((sizes[row] for row in sizes if row in unanswered), is_batched=is_batched)
    return lost + sum(
        max(cost, rate.cost_upper_bound([sizes[row]], is_batched=is_batched))
        for row, cost in unclear_costs.items()
    )


def _resume_search(context: RunContext, batch: Batch) -> Batch:
    """Search again for a batch that was bound to a remote batch with someone else's results."""
    path = context.store.folder(context.run).results(batch.round, batch.batch)
    with context.store.transaction():
        context.store.remote_index.exclude_batch(batch, batch.batch_id or "")
        unbound = context.store.transition(
            batch, "submitting", batch_id=None, created_at=None, ended_at=None, search_started_at=None, counts="{}"
        )
    path.unlink(missing_ok=True)
    context.report("searching", f"{batch.batch_id} contains someone else's results; still searching", batch)
    return unbound


def mark_missing(context: RunContext, batch: Batch) -> None:
    """End the rows of a batch whose results are lost as `missing`; they are not sent and paid for again.

    They may be paid, so the upper bound of their cost stays reserved.
    """
    index, reserved = context.store.row_index, batch.reserved_cost
    if reserved is None:
        sizes, is_batched = index.request_sizes_of(batch), batch.send_mode == "batch"
        reserved = context.cost_upper_bound(sizes, is_batched=is_batched)
    rows = ((row, "missing", False, None, None) for row in index.rows_of(batch))
    context.store.collect_batch(batch, rows, reserved_cost=reserved)
    context.report("warning", f"results lost; {pluralize(batch.requests, 'row')} recorded as missing", batch)
