"""Errors that stop a run, with their exit codes.

RunnerError                 1  a defect in the runner or its environment
├── InputError              2  problems in a spec, template, schema or source, each with its location
├── UsageError              2  the command cannot run with these arguments
├── CanaryFailed            2  the first rows failed, and the others were not sent
├── RetriesStopped          3  most rows of a round failed for the same reason, and no further round was sent
├── ManualDecisionRequired               5  a person must decide whether a batch was accepted
├── StateLocked                  6  another runner is using the state
├── AccessError             7  credentials, permission or spend limit
│   └── CostCapReached             the spec's own cost cap
├── StateError              8  the state on disk is unusable
├── ResultsLost             9  the API no longer has the results
├── Interrupted           130  a signal, or an answer to a question, stopped the command before a run began
└── ApiError                4  one call failed; the lifecycle handles it, so it rarely ends a run
    ├── Unavailable            try again later
    │   ├── ResultsIncomplete         a download with missing results
    │   └── NotAccepted                a create that the API refused, or that broke off
    ├── NotFound               the id is unknown, or not visible yet
    ├── RequestRejected             2  the API rejected the request
    └── AcceptanceUnknown          a create or message that may or may not have been accepted

A failed row is not an error but data: see `results.outcome`.
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in an input: its location and what to do.

    Lines and columns count from 1; 0 means unknown. `remedy` is the part of the message that says what to do, and
    `rule` the id of the rule or check that found it, if they are known.
    """

    path: str
    message: str
    line: int = 0
    column: int = 0
    remedy: str = ""
    rule: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
        return f"{place}: {self.message}" if place else self.message


_NOT_ALLOWED = "use chmod or chown on it or its folder, or work in a folder of your own"
_REMEDIES = {
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: "its disk can only be read: work in a folder on another one",
}


def describe_os_error(error: OSError, place: object = "") -> str:
    """Return the message about a file that cannot be used, with a remedy if one is known.

    `place` is what the message is about if the error names no file.
    """
    message, remedy = f"{error.filename or place}: {error.strerror or error}", _REMEDIES.get(error.errno or 0)
    return message if remedy is None else f"{message}: {remedy}"


class RunnerError(Exception):
    """An error that stops a run; its message gives the cause and the remedy."""

    exit_code = 1


class InputError(RunnerError):
    """Problems in the user's input: all that one check found."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class UsageError(RunnerError):
    """The command cannot run with these arguments."""

    exit_code = 2


class CanaryFailed(RunnerError):
    """The canary rows, sent before all others, failed."""

    exit_code = 2


class RetriesStopped(RunnerError):
    """Most rows of a round failed for the same lasting reason; the run is finished without another round."""

    exit_code = 3


class PilotMissed(RunnerError):
    """Too many rows of a pilot failed, or its answers are not good enough; the whole job was not begun."""

    exit_code = 3


class ManualDecisionRequired(RunnerError):
    """A create without an answer, whose batch was not found, and that the spec leaves to a person."""

    exit_code = 5


class StateLocked(RunnerError):
    """Another runner is using the state.

    `is_free` tells if that one is done; it is None if it took over what this one had begun.
    """

    exit_code = 6

    def __init__(self, message: str, is_free: Callable[[], bool] | None = None) -> None:
        super().__init__(message)
        self.is_free = is_free


class AccessError(RunnerError):
    """The credentials, their permissions or the spend limit do not allow the call."""

    exit_code = 7


class CostCapReached(AccessError):
    """The cost cap is reached, or too low for the next batch."""


class StateError(RunnerError):
    """The state on disk is missing, damaged or written by a newer version."""

    exit_code = 8


class FileChanged(StateError):
    """A file that requests attach is not as it was when the run was prepared."""


class ResultsLost(RunnerError):
    """The API no longer has the results of a batch."""

    exit_code = 9


class Interrupted(RunnerError):
    """A signal, or the answer to a question, stopped the command."""

    exit_code = 130


class ApiError(RunnerError):
    """One call to the API failed."""

    exit_code = 4


class Unavailable(ApiError):
    """The API cannot answer now. `retry_after` is the delay that it advises in seconds, or None."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(Unavailable):
    """The API takes no more requests for now (429)."""


class ResultsIncomplete(Unavailable):
    """Results of the batch are missing from its results file."""


class NotAccepted(Unavailable):
    """The API did not accept a create, or it broke off: after one look at the list, send it again."""


class NotFound(ApiError):
    """The id is unknown; right after a create this can be temporary (anthropic-sdk-python issue 1432)."""


class RequestRejected(ApiError):
    """The API rejected the request; sending the same bytes again cannot succeed."""

    exit_code = 2


class AcceptanceUnknown(ApiError):
    """The call failed, but the API may have accepted the request."""
