"""Tell failures that would only repeat, such as the same failed check, from those that can pass."""

import re
from typing import NamedTuple

from runner.results.outcome import PAUSE_TURN, Outcome
from runner.results.output_format import OutputFormat

LASTING_OUTCOMES = ("invalid", "truncated", "refused", "errored", "rejected")
"""Outcomes that can have a lasting cause; `expired`, `canceled` and `missing` never do."""

_INDEX, _NUMBER = re.compile(r"\[\d+\]"), re.compile(r"\d+")


class LastingFailure(NamedTuple):
    """A failure that the same request or rule would repeat: `group` is equal for failures of the same cause."""

    group: str
    message: str


def find_lasting_failure(outcome: Outcome, output_format: OutputFormat) -> LastingFailure | None:
    """Return the lasting failure of a row, or None if it succeeded or if its failure can pass."""
    error = outcome.error or {}
    shown = f"{error.get('type', outcome.outcome)}: {error.get('message', '')}"
    if outcome.outcome == "invalid":
        return LastingFailure(f"invalid {_group_problem(error.get('message', ''), output_format)}", shown)
    if outcome.outcome == "truncated" and outcome.stop_reason != PAUSE_TURN:
        return LastingFailure(shown, shown)
    if outcome.outcome == "refused":
        return LastingFailure(shown, shown)
    if outcome.outcome in ("errored", "rejected") and not outcome.is_retryable:
        # The message can contain sizes or places, which differ from row to row.
        return LastingFailure(_NUMBER.sub("#", shown), shown)
    return None


def _group_problem(message: str, output_format: OutputFormat) -> str:
    """Return the check that an output fails, or its place in the schema without indexes."""
    for _, known in output_format.checks:
        if message.startswith(known):
            return known
    return _INDEX.sub("[]", message.partition(": ")[0])
