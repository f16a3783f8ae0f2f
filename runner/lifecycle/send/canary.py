"""Evaluate the canary: the first rows, sent synchronously before any batch."""

from collections.abc import Sequence

from runner.errors import CanaryFailed
from runner.files.atomic import sync_folder
from runner.requests.pack import pack_requests
from runner.results.outcome import Outcome, parse_result
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.row_reader import open_row_reader
from runner.store.records import Batch
from runner.store.run_folder import open_slices
from runner.text import pluralize

_MAX_SHOWN, _EXTRA_ID_BYTES = 3, 20


def check_canary(context: RunContext, output_format: OutputFormat) -> bool:
    """Return whether the other rows can be sent, once the canary is collected.

    A fault that can pass, such as an overloaded server, is left to the next round if another row succeeded. If no
    row succeeded, the canary is prepared again, up to `retry.attempts` times in all, and False is returned. Raises
    CanaryFailed if rows failed. The run is then abandoned, and the next run can reuse its answers.
    """
    canaries = [
        batch for batch in context.store.batches(context.run) if batch.send_mode == "canary" and batch.round == 1
    ]
    found = [one for batch in canaries for one in _read_outcomes(context, batch, output_format)]
    bad = [(row, one) for row, one in found if one.outcome not in ("succeeded", "errored", "expired")]
    bad += [(row, one) for row, one in found if one.outcome == "errored" and not one.is_retryable]
    if found and not bad and not any(one.outcome == "succeeded" for _, one in found):
        if len(canaries) < context.spec.retry.attempts:
            _prepare_new_canary(context, canaries)
            return False
        bad = found
    if bad:
        context.run = context.store.update_run(context.run, state="abandoned")
        raise CanaryFailed(_failure_message(context, len(found), bad))
    return True


def _prepare_new_canary(context: RunContext, canaries: Sequence[Batch]) -> None:
    """Prepare another canary with the rows of the previous ones."""
    folder = context.store.folder(context.run)
    number = max(batch.batch for batch in context.store.batches(context.run) if batch.round == 1) + 1
    requests = [
        (row, batch.batch, offset, size)
        for batch in canaries
        for row, offset, size in context.store.requests_of(batch)
    ]
    with open_slices() as files, context.store.transaction():
        pairs = ((row, files.read(folder.body(1, batch), *where)) for row, batch, *where in requests)
        size = sum(batch.bytes for batch in canaries) + _EXTRA_ID_BYTES * len(requests)
        limits = {"max_requests": len(requests), "max_bytes": size}
        for body in pack_requests(
            pairs, run=context.run.id, round=1, folder=folder.bodies, first_number=number, **limits
        ):
            context.store.add_batch(context.run, 1, body, send_mode="canary")
        context.store.recount_outcomes(context.run)
        sync_folder(folder.bodies)


def _read_outcomes(context: RunContext, batch: Batch, output_format: OutputFormat) -> list[tuple[int, Outcome]]:
    path = context.store.folder(context.run).results(batch.round, batch.batch)
    with open_slices() as files, open_row_reader(context) as rows:
        places = context.store.results_of(batch)
        return [
            (
                row,
                parse_result(
                    files.read(path, offset, length),
                    output_format,
                    rows.read_fields(row) if output_format.checks else None,
                ),
            )
            for row, offset, length in places
        ]


def _failure_message(context: RunContext, count: int, bad: list[tuple[int, Outcome]]) -> str:
    lines = [
        f"  row {row} is {one.outcome}: {(one.error or {}).get('message', '')}"
        for row, one in sorted(bad)[:_MAX_SHOWN]
    ]
    if len(bad) > _MAX_SHOWN:
        lines.append(f"  and {len(bad) - _MAX_SHOWN} more")
    shown = "\n".join(lines)
    return (
        f"the canary failed: {len(bad)} of {pluralize(count, 'row')} did not succeed, and nothing else of "
        f"run {context.run.id} was sent:\n{shown}\n"
        "Fix the prompt, schema or rows and run again (answers that succeeded are not paid for again), or lower "
        "`canary`"
    )
