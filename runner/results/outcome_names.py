"""The outcomes that a row can have."""

from collections.abc import Mapping

from runner.errors import UsageError

OUTCOMES = (
    "succeeded", "invalid", "truncated", "refused", "errored", "expired", "canceled", "missing", "rejected"
)  # fmt: skip
"""Outcomes of a row: the first four have an answer; `missing` and `rejected` never had a result."""

LASTING_OUTCOMES = ("invalid", "truncated", "refused", "errored", "rejected")
"""Outcomes that can have a lasting cause; `expired`, `canceled` and `missing` never do."""


def cannot_be_retried(outcomes: Mapping[str, int]) -> bool:
    """Return whether all rows that failed were rejected: as they are, a retry would send none of them."""
    return {name for name, rows in outcomes.items() if rows} - {"succeeded"} == {"rejected"}


def check_outcome(name: str | None, *others: str) -> str | None:
    """Return the outcome that a user named. Raises UsageError for a name that is neither one nor in `others`."""
    known = (*OUTCOMES, *others)
    if name is not None and name not in known:
        raise UsageError(f"the outcome {name!r} is not one of {', '.join(known)}")
    return name
