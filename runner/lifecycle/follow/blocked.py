"""The end of a run whose batches are all blocked: reject the requests at fault, or raise what blocks the rest."""

from runner.errors import (
    AccessError,
    CostCapReached,
    ManualDecisionRequired,
    RequestRejected,
    ResultsLost,
    StateError,
)
from runner.lifecycle.follow.following import Following
from runner.lifecycle.send.refusal import is_culprit, reject_row
from runner.store.records import Batch

_BY_SEVERITY = (ManualDecisionRequired, ResultsLost, CostCapReached, AccessError, RequestRejected, StateError)


def resolve_blocked(run: Following, batches: list[Batch]) -> None:
    """Reject the requests that are certainly at fault; without any, raise the most severe error of all batches."""
    rejected = [batch for batch in batches if batch.rejection is not None and batch.requests == 1]
    culprits = [batch for batch in rejected if run.accept_loss or is_culprit(run.context, batch)]
    for batch in culprits:
        progress = run.memory.of(batch)
        if progress.was_retried or run.accept_loss:
            reject_row(run.context, batch)
        else:
            # A cause that all requests shared may have passed meanwhile.
            progress.was_retried = True
            run.context.store.transition(batch, "prepared", rejection=None)
        progress.blocked_by = None
    if not culprits:
        _raise_most_severe(run)


def _raise_most_severe(run: Following) -> None:
    errors = run.memory.blocking_errors()
    most_severe = next(error for kind in _BY_SEVERITY for error in errors if isinstance(error, kind))
    same = [str(error) for error in errors if type(error) is type(most_severe)]
    raise type(most_severe)("\n".join(same)) from most_severe.__cause__
