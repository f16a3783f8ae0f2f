"""Group the failed rows of a run by reason."""

from dataclasses import replace

import msgspec

from runner.lifecycle.deliver.row_results import read_row_results, recorded_output_format
from runner.results.outcome import Outcome
from runner.runs.summary import FailureGroup, Summary, summarize_run
from runner.store.records import Run
from runner.store.run_batches import decode_column
from runner.store.run_folder import open_slices
from runner.store.store import Store

MAX_ANSWER_CHARS = 100
OTHER_REASONS = "other reasons"

# The most frequent reasons are among the first.
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


class FailureGroups:
    """Failed rows by reason, counted one after the other in input order; memory stays flat if all differ."""

    def __init__(self) -> None:
        self.by_reason: dict[str, FailureGroup] = {}
        self._rest: list[FailureGroup] = []

    def add(self, key: str | int, reason: str | None, outcome: Outcome) -> None:
        """Count a row with this `Outcome.reason`; nothing happens without one, because it has succeeded."""
        if reason is None:
            return
        if (known := self.by_reason.get(reason)) is not None:
            self.by_reason[reason] = replace(known, rows=known.rows + 1)
            return
        self._add_new(FailureGroup(outcome.outcome, reason, 1, key, cut_answer(outcome)))

    def add_all(self, later: "FailureGroups") -> None:
        """Add the groups of later rows, which are no more than are kept apart."""
        for reason, group in later.by_reason.items():
            if (known := self.by_reason.get(reason)) is not None:
                self.by_reason[reason] = replace(known, rows=known.rows + group.rows)
            else:
                self._add_new(group)

    def _add_new(self, group: FailureGroup) -> None:
        if len(self.by_reason) < _MAX_GROUPS:
            self.by_reason[group.reason] = group
        else:
            self._rest = [_merge([*self._rest, group])]

    def largest_first(self) -> list[FailureGroup]:
        """Return the groups, the largest first; those after the first 20 are one group."""
        ordered = sorted(self.by_reason.values(), key=lambda group: -group.rows)
        shown, others = ordered[:_MAX_SHOWN], [*ordered[_MAX_SHOWN:], *self._rest]
        return [*shown, _merge(others)] if others else shown


def _merge(groups: list[FailureGroup]) -> FailureGroup:
    """Return one group for rows of several reasons, with the example of the first."""
    outcomes = {group.outcome for group in groups}
    outcome = outcomes.pop() if len(outcomes) == 1 else None
    rows = sum(group.rows for group in groups)
    return replace(groups[0], outcome=outcome, reason=OTHER_REASONS, rows=rows)


def _read_failures(store: Store, run: Run) -> list[FailureGroup]:
    """Group the rows of a run that have failed so far; the results of other rows are not read."""

    def is_failure(recorded: str | None, _: str | int) -> bool:
        return recorded not in (None, "succeeded")

    groups, output_format = FailureGroups(), recorded_output_format(store, run)
    with open_slices() as files:
        for found in read_row_results(store, run, output_format, files, is_wanted=is_failure):
            if found.outcome is not None:
                groups.add(found.key, found.outcome.reason, found.outcome)
    return groups.largest_first()


def find_failures(store: Store, run: Run) -> list[FailureGroup] | None:
    """Return the failed rows of a run by reason, the most frequent reasons first; None if it was purged.

    Rows of further reasons than 20 are one group. They are in the record of a finished run; the results of another
    are read. Raises StateError if the files of the run are damaged.
    """
    if run.purged_at is not None:
        return None
    if run.state == "finished" and run.failures is not None:
        return decode_column(run.failures, list[FailureGroup])
    counts = store.counts.read(run)
    if run.state in UNCONFIRMED_STATES or not any(name != "succeeded" for name in counts):
        return []
    return _read_failures(store, run)


def summarize_with_failures(store: Store, run: Run) -> Summary:
    """Return the current summary of a run, with its failed rows by reason."""
    return replace(summarize_run(store, run), failures=find_failures(store, run))
