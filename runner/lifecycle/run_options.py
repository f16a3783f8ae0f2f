"""The options of a run."""

from dataclasses import dataclass
from typing import Literal

from runner.runs.select import PendingChoice, refuse_choice
from runner.workers.tasks import Jobs

Pending = Literal["finish", "new", "ask"]


def to_choice(pending: Pending | PendingChoice) -> PendingChoice:
    """Return the function that decides about an unfinished run which differs from the files."""
    if callable(pending):
        return pending
    return refuse_choice if pending == "ask" else lambda _: pending


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run, with the defaults of all callers.

    With `simulate` nothing is paid. Without `wait`, or after `max_wait` seconds of it, the run is left unfinished:
    call again. `limit` is the most rows to read. If an unfinished run differs from the files, `resume` finishes it
    as it was and `new` starts over. Without both, `pending` decides: finish (as it was, and then start on the
    changes), new, ask (raise UsageError), or a function. `accept_loss` ends rows of lost results as missing. With
    `overwrite` a partial run replaces complete outputs. `poll_seconds` is the time between two looks at a batch,
    by default that of the spec. `skip_pilot` sends the whole job without the pilot of its spec. Rows are rendered
    by `jobs`.
    """

    simulate: bool = False
    wait: bool = True
    max_wait: float | None = None
    limit: int | None = None
    resume: bool = False
    new: bool = False
    pending: Pending | PendingChoice = "ask"
    accept_loss: bool = False
    overwrite: bool = False
    poll_seconds: float | None = None
    skip_pilot: bool = False
    jobs: Jobs = 1
