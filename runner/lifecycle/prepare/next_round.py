"""Prepare the next round: rows that can still succeed are sent again with their previous params."""

from collections.abc import Iterator

import msgspec

from runner.errors import StateError
from runner.files.atomic import sync_folder
from runner.requests.conversation import ask_for_repair, continue_turn
from runner.requests.pack import max_params_bytes, pack_requests
from runner.results.outcome import PAUSE_TURN, parse_result
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.row_reader import RowReader, open_row_reader
from runner.store.run_folder import FileSlices, open_slices
from runner.store.store import RETRY_ALWAYS


def prepare_next_round(context: RunContext, output_format: OutputFormat) -> bool:
    """Write the next round from the rows that may be sent again; return whether there are any.

    Raises StateError if the files of the run do not confirm that a row may be sent again.
    """
    round = max((batch.round for batch in context.store.batches(context.run)), default=0) + 1
    if context.run.is_canceled or round == 1:
        return False
    min_retry = 1 if round <= context.spec.retry.attempts else RETRY_ALWAYS
    folder = context.store.folder(context.run)
    with context.store.transaction(), open_slices() as files, open_row_reader(context) as rows:
        # The limit may have been lowered since: a request that fitted before must still fit.
        longest = max(batch.bytes for batch in context.store.batches(context.run)) + 64
        limits = {
            "max_requests": context.spec.batch.max_requests,
            "max_bytes": max(context.spec.batch.max_bytes, longest),
        }
        bodies = 0
        for body in pack_requests(
            _retry_requests(context, files, rows, output_format, min_retry),
            run=context.run.id,
            round=round,
            folder=folder.bodies,
            **limits,
        ):
            context.store.add_batch(context.run, round, body)
            bodies += 1
        context.store.recount_outcomes(context.run)
        sync_folder(folder.bodies)
    return bodies > 0


def _retry_requests(
    context: RunContext, files: FileSlices, rows: RowReader, output_format: OutputFormat, min_retry: int
) -> Iterator[tuple[int, bytes]]:
    """Yield (row, params) of the rows to send again.

    Their results are read again, so that a damaged mark in the database cannot make anyone pay twice.
    """
    folder, longest = context.store.folder(context.run), max_params_bytes(context.spec.batch.max_bytes)
    is_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    for row, round, batch, offset, size, result_offset, length in context.store.rows_to_retry(
        context.run, min_retry=min_retry
    ):
        try:
            params = files.read(folder.body(round, batch), offset, size)
            is_object(params)
            if result_offset is not None:
                line = files.read(folder.results(round, batch), result_offset, length or 0)
                found = parse_result(line, output_format, rows.read_fields(row) if output_format.checks else None)
                if not (found.is_retryable or found.outcome == "canceled"):
                    raise ValueError("its result is final")
                longer = params
                if found.stop_reason == PAUSE_TURN:
                    longer = continue_turn(params, line)
                elif found.outcome == "invalid" and context.spec.retry.repair:
                    longer = ask_for_repair(params, line, (found.error or {}).get("message", "it is not valid"))
                # A conversation that has become too long is dropped: the same request is sent again.
                params = longer if len(longer) <= longest else params
        except (ValueError, OSError) as error:
            raise StateError(
                f"run {context.run.id}: row {row} is marked to be sent again, but cannot be: {error}"
            ) from error
        yield row, params
