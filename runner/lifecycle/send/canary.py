"""Evaluate the canary: the first rows, sent synchronously before any batch."""

from collections.abc import Sequence
from itertools import chain

from runner.errors import CanaryFailed
from runner.lifecycle.prepare.write_round import write_round
from runner.results.outcome import Outcome
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.result_reader import open_result_reader
from runner.store.records import Batch
from runner.store.run_folder import open_bodies
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
    # A row that was in several canaries has the outcome of the last one.
    outcomes = dict(chain.from_iterable(_read_outcomes(context, batch, output_format) for batch in canaries))
    found = list(outcomes.items())
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
    folder, store = context.store.folder(context.run), context.store
    number = max(batch.batch for batch in store.batches(context.run) if batch.round == 1) + 1
    latest = {
        row: (row, batch.batch, offset, size)
        for batch in canaries
        for row, offset, size in store.row_index.requests_of(batch)
    }
    requests = list(latest.values())
    size = sum(batch.bytes for batch in canaries) + _EXTRA_ID_BYTES * len(requests)
    with open_bodies(folder, context.spec.root) as bodies, store.transaction():
        write_round(
            context,
            ((row, bodies.read(1, batch, *where)) for row, batch, *where in requests),
            round=1,
            max_requests=len(requests),
            max_bytes=size,
            first_number=number,
            send_mode="canary",
        )


def _read_outcomes(context: RunContext, batch: Batch, output_format: OutputFormat) -> list[tuple[int, Outcome]]:
    with open_result_reader(context, output_format) as reader:
        return [
            (row, reader.parse(row, reader.read_line(batch.round, batch.batch, offset, length)))
            for row, offset, length in context.store.row_index.results_of(batch)
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
