"""Everything that stops a run, and the exit code that tells a script why.

RunnerError                 1  a defect of the runner or its surroundings
├── InputError              2  a spec, template, schema or source is wrong: every problem with its place
├── UsageError              2  the command cannot be carried out as it was typed
├── CanaryFailed            2  the first rows did not succeed, and the others were not sent
├── Undecided               5  whether a batch was accepted is for a person to say
├── Locked                  6  another runner holds the state
├── AccessError             7  credentials, permission or spend
│   └── CapReached             the spec's own cap does not allow more
├── StateError              8  the state on disk is unusable
├── ResultsGone             9  the API no longer has the results
├── Interrupted           130  a signal asked for the end before anything was sent
└── ApiFault                4  one call failed; the lifecycle answers it, so that it seldom ends a run
    ├── Unavailable            try again later
    │   └── Incomplete         a download that lacks results
    ├── NotFound               this id is not known, or not known yet
    ├── Refused             2  the API read the request and said no
    └── CreateUnknown          a create that may or may not have been accepted

What happens to one row is not an error but data: see `outcome`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in an input: where it is (lines and columns count from 1; 0 is unknown) and what to do."""

    path: str
    message: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
        return f"{place}: {self.message}" if place else self.message


class RunnerError(Exception):
    """What the user reads when a run stops: the cause and the remedy."""

    exit_code = 1


class InputError(RunnerError):
    """Mistakes in what the user wrote, all those that could be found at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class UsageError(RunnerError):
    """The command cannot be carried out as it was typed."""

    exit_code = 2


class CanaryFailed(RunnerError):
    """Rows that were sent ahead of all others did not succeed."""

    exit_code = 2


class Undecided(RunnerError):
    """A create had no answer, no trace of its batch was found, and the spec leaves the decision to a person."""

    exit_code = 5


class Locked(RunnerError):
    """Another runner holds the state."""

    exit_code = 6


class AccessError(RunnerError):
    """The credentials, their permissions or the spend limit do not allow the call."""

    exit_code = 7


class CapReached(AccessError):
    """What a run may cost at the most is used up, or would not be enough for what comes next."""


class StateError(RunnerError):
    """The state on disk is missing, damaged or written by a newer version."""

    exit_code = 8


class ResultsGone(RunnerError):
    """The API no longer has the results of a batch."""

    exit_code = 9


class Interrupted(RunnerError):
    """A signal asked for the end."""

    exit_code = 130


class ApiFault(RunnerError):
    """One call to the API failed."""

    exit_code = 4


class Unavailable(ApiFault):
    """The API cannot answer now. `retry_after` is its own advice in seconds, or None."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Incomplete(Unavailable):
    """A results file lacks results that the batch has."""


class NotFound(ApiFault):
    """The id is not known; right after a create that can pass (anthropic-sdk-python issue 1432)."""


class Refused(ApiFault):
    """The API read the request and refused it; sending the same bytes again cannot succeed."""

    exit_code = 2


class CreateUnknown(ApiFault):
    """The connection failed after the request may have been accepted."""
