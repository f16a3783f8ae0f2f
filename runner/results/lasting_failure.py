"""Tell failures that would only repeat, such as the same failed check, from those that can pass."""

from runner.results.outcome import PAUSE_TURN, Outcome
from runner.results.outcome_names import LASTING_OUTCOMES


def is_lasting_failure(outcome: Outcome) -> bool:
    """Return whether the same request or rule would make a row fail again."""
    if outcome.outcome in ("errored", "rejected"):
        return not outcome.is_retryable
    if outcome.outcome == "truncated":
        return outcome.stop_reason != PAUSE_TURN
    return outcome.outcome in LASTING_OUTCOMES
