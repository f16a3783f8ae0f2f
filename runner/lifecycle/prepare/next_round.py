"""Prepare the next round: rows that can still succeed are sent again with their previous params."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from runner.errors import FileChanged, StateError
from runner.lifecycle.prepare.brake import apply_brake
from runner.lifecycle.prepare.write_round import write_round
from runner.requests.conversation import ask_for_repair, continue_turn
from runner.requests.pack import max_params_bytes
from runner.requests.stored_params import Params, replace_sent
from runner.results.outcome import PAUSE_TURN
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.result_reader import ResultReader, open_result_reader
from runner.store.index.row_index import RETRY_ALWAYS
from runner.store.run_folder import BodyReader, open_bodies
from runner.text import pluralize


class _Retry(NamedTuple):
    """A row to send again: its latest params, and its line in the results of that batch, by offset and length."""

    row: int
    round: int
    batch: int
    offset: int
    length: int
    result_offset: int | None
    result_length: int | None


def prepare_next_round(context: RunContext, output_format: OutputFormat) -> bool:
    """Write the next round from the rows that may be sent again; return whether there are any.

    Rows whose attached files have changed are left out, and keep their outcomes. Raises FileChanged if there are
    no others, RetriesStopped if the brake stops the round, and StateError if the files of the run do not confirm
    that a row may be sent again.
    """
    batches, spec = context.store.run_batches(context.run), context.spec
    round = batches.last_round + 1
    if context.run.is_canceled or round == 1:
        return False
    min_retry = 1 if round <= spec.retry.attempts else RETRY_ALWAYS
    if next(context.store.row_index.rows_to_retry(context.run, min_retry=min_retry), None) is not None:
        apply_brake(context, output_format, round - 1)
    # The limit may have been lowered since: a request that fitted before must still fit.
    max_bytes = max(spec.batch.max_bytes, max(batch.bytes for batch in batches) + 64)
    folder, changed = context.store.folder(context.run), list[FileChanged]()
    with (
        context.store.transaction(),
        open_result_reader(context, output_format) as reader,
        open_bodies(folder, spec.root) as bodies,
    ):
        requests = _retry_requests(context, reader, bodies, min_retry, changed)
        count = write_round(
            context,
            requests,
            round=round,
            max_requests=spec.batch.max_requests,
            max_bytes=max_bytes,
            cache=context.run.cache,
        )
        if changed and not count:
            raise changed[0]
    if changed:
        line = f"{pluralize(len(changed), 'row')} cannot be sent again: {changed[0]}"
        context.report("warning", f"run {context.run.id}: {line}")
    return count > 0


def _retry_requests(
    context: RunContext, reader: ResultReader, bodies: BodyReader, min_retry: int, changed: list[FileChanged]
) -> Iterator[tuple[int, Params]]:
    """Yield (row, params) of the rows to send again, and add the errors of those with changed files to `changed`.

    Their results are read again, so that a damaged mark in the database cannot make anyone pay twice.
    """
    for values in context.store.row_index.rows_to_retry(context.run, min_retry=min_retry):
        retry = _Retry(*values)
        try:
            yield retry.row, _retry_params(context, reader, bodies, retry)
        except FileChanged as error:
            changed.append(error)
        except (ValueError, OSError) as error:
            raise StateError(
                f"run {context.run.id}: row {retry.row} is marked to be sent again, but cannot be: {error}"
            ) from error


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _retry_params(context: RunContext, reader: ResultReader, bodies: BodyReader, retry: _Retry) -> Params:
    """Return the params to send again.

    Raises ValueError if the result of the row is final or damaged, and FileChanged for an attached file.
    """
    params = bodies.read(retry.round, retry.batch, retry.offset, retry.length)
    _decode_object(params.sent)
    if retry.result_offset is None:
        return params
    line = reader.read_line(retry.round, retry.batch, retry.result_offset, retry.result_length or 0)
    longer = _next_turn(context, reader, retry.row, params.sent, line)
    # A conversation that has become too long is dropped: the same request is sent again.
    is_longer_sent = len(longer) <= max_params_bytes(context.spec.batch.max_bytes)
    return replace_sent(params, longer) if is_longer_sent else params


def _next_turn(context: RunContext, reader: ResultReader, row: int, params: bytes, line: bytes) -> bytes:
    """Return params that continue a paused turn or ask for a repair, or the same params again."""
    found = reader.parse(row, line)
    if not (found.is_retryable or found.outcome == "canceled"):
        raise ValueError("its result is final")
    if found.stop_reason == PAUSE_TURN:
        return continue_turn(params, line)
    if found.outcome == "invalid" and context.spec.retry.repair:
        return ask_for_repair(params, line, (found.error or {}).get("message", "it is not valid"))
    return params
