"""Group the failed rows of a run by reason."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from runner.lifecycle.deliver.row_results import RowResult, read_row_results, recorded_output_format
from runner.results.outcome import Outcome
from runner.runs.summary import FailureGroup, Summary, summarize_run
from runner.store.records import Run
from runner.store.run_folder import open_slices
from runner.store.store import Store

MAX_ANSWER_CHARS = 100
OTHER_REASONS = "other reasons"

# Memory stays flat if all reasons differ: the most frequent ones are then among the first.
_MAX_GROUPS, _MAX_SHOWN = 1_000, 20

UNCONFIRMED_STATES = ("preparing", "prepared")
"""The states of a run before it is confirmed."""


def cut_answer(outcome: Outcome, *, length: int = MAX_ANSWER_CHARS) -> str | None:
    """Return the beginning of an answer on one line; None for a row without an answer."""
    if outcome.output is None:
        return None
    text = outcome.output if isinstance(outcome.output, str) else msgspec.json.encode(outcome.output).decode()
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _read_failures(store: Store, run: Run) -> Iterator[tuple[RowResult, Outcome]]:
    """Yield the rows of a run that have failed so far; the results of other rows are not read."""

    def is_failure(recorded: str | None, _: str | int) -> bool:
        return recorded not in (None, "succeeded")

    output_format = recorded_output_format(store, run)
    with open_slices() as files:
        for found in read_row_results(store, run, output_format, files, is_wanted=is_failure):
            if found.outcome is not None and found.outcome.reason is not None:
                yield found, found.outcome


def find_failures(store: Store, run: Run) -> list[FailureGroup] | None:
    """Return the failed rows of a run by reason, the most frequent reasons first; None if it was purged.

    Rows of further reasons than 20 are one group. Raises StateError if the files of the run are damaged.
    """
    if run.purged_at is not None:
        return None
    counts = store.row_index.outcome_counts(run)
    if run.state in UNCONFIRMED_STATES or not any(name != "succeeded" for name in counts):
        return []
    groups: dict[str, FailureGroup] = {}
    rest: list[FailureGroup] = []
    for found, outcome in _read_failures(store, run):
        reason = str(outcome.reason)
        if (known := groups.get(reason)) is not None:
            groups[reason] = replace(known, rows=known.rows + 1)
            continue
        group = FailureGroup(outcome.outcome, reason, 1, found.key, cut_answer(outcome))
        if len(groups) < _MAX_GROUPS:
            groups[reason] = group
        else:
            rest = [_merge([*rest, group])]
    ordered = sorted(groups.values(), key=lambda group: -group.rows)
    shown, others = ordered[:_MAX_SHOWN], [*ordered[_MAX_SHOWN:], *rest]
    return [*shown, _merge(others)] if others else shown


def _merge(groups: list[FailureGroup]) -> FailureGroup:
    """Return one group for rows of several reasons, with the example of the first."""
    outcomes = {group.outcome for group in groups}
    outcome = outcomes.pop() if len(outcomes) == 1 else None
    rows = sum(group.rows for group in groups)
    return replace(groups[0], outcome=outcome, reason=OTHER_REASONS, rows=rows)


def summarize_with_failures(store: Store, run: Run) -> Summary:
    """Return the current summary of a run, with its failed rows by reason; reads the results of those rows."""
    return replace(summarize_run(store, run), failures=find_failures(store, run))
