"""The brake: no further round is sent if most rows of the last one failed for the same lasting reason."""

from collections.abc import Iterator
from itertools import islice

import msgspec

from runner.errors import RetriesStopped
from runner.results.lasting_failure import is_lasting_failure
from runner.results.outcome import Outcome
from runner.results.outcome_names import LASTING_OUTCOMES
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.runs.result_reader import open_result_reader
from runner.store.records import Run

MIN_ROWS = 20
"""A round of fewer rows is never braked."""

# Memory stays flat if all messages differ: a cause of most rows is among the first ones.
_MAX_GROUPS = 10_000


class _Key(msgspec.Struct):
    key: str | int


def apply_brake(context: RunContext, output_format: OutputFormat, round: int) -> None:
    """Raise RetriesStopped if more than `retry.brake` of a round's rows failed for the same lasting reason."""
    brake, index = context.spec.retry.brake, context.store.row_index
    if brake is None or context.store.remote_index.recovered_batches(context.run, round + 1):
        return
    outcomes = index.outcomes_of_round(context.run, round)
    total = sum(outcomes.values())
    if total < MIN_ROWS or sum(outcomes.get(name, 0) for name in LASTING_OUTCOMES) <= brake * total:
        return
    groups: dict[str, tuple[int, int, str]] = {}
    for row, failed in _read_lasting_failures(context, output_format, round):
        reason, error = str(failed.reason), failed.error or {}
        count, first, message = groups.get(reason, (0, row, f"{error.get('type')}: {error.get('message')}"))
        if count or len(groups) < _MAX_GROUPS:
            groups[reason] = (count + 1, first, message)
    count, first, message = max(groups.values(), default=(0, 0, ""))
    if count > brake * total:
        share = f"{count:,} of the {total:,} rows of that round"
        raise RetriesStopped(_describe_stop(context, round, share, first, message))


def _read_lasting_failures(
    context: RunContext, output_format: OutputFormat, round: int
) -> Iterator[tuple[int, Outcome]]:
    """Yield the rows of a round that failed for a lasting reason."""
    with open_result_reader(context, output_format) as reader:
        for row, batch, *where in context.store.row_index.results_of_round(context.run, round, LASTING_OUTCOMES):
            try:
                outcome = reader.parse(row, reader.read_line(round, batch, *where))
            except (OSError, ValueError):
                continue  # Whoever reads the row to send it again says so.
            if is_lasting_failure(outcome):
                yield row, outcome


def _describe_stop(context: RunContext, round: int, share: str, row: int, message: str) -> str:
    with context.store.folder(context.run).rows.open("rb") as lines:
        key = msgspec.json.decode(next(islice(lines, row - 1, None)), type=_Key).key
    run = context.run
    succeeded = context.store.counts.read(run).get("succeeded", 0)
    return (
        f"run {run.id} stopped after round {round}: {share} failed for the same reason\n"
        f"  row {key!r}, for example, is {message}\n"
        f"{succeeded:,} of all {run.rows:,} rows succeeded. The outputs are written, and nothing more is sent. "
        f"Correct the cause, and then{_describe_next(run)}"
    )


def _describe_next(run: Run) -> str:
    """Return the end of the message: the commands that go on."""
    if run.is_pilot:
        return " run `runner pilot` again: paid answers are checked again"
    return (
        ":\n"
        "  after an edit of the checks or rows, run again: paid answers are checked again, and only rows that "
        "changed or still fail are sent\n"
        f"  after an edit of the prompt, use `runner retry {run.id}`: it sends only the failed rows\n"
        f"Without an edit, `runner retry {run.id}` sends the failed rows again as they are"
    )
