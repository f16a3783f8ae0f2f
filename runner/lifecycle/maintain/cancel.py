"""Cancel a run: its batches at the API, and the rest of it here."""

from contextlib import suppress
from dataclasses import replace

from runner.api.accounts import Accounts
from runner.errors import AccessError, ApiError, RequestRejected
from runner.runs.context import batch_label
from runner.runs.find import RunInfo, find_run, open_run
from runner.runs.project import open_accounts
from runner.runs.snapshot import read_endpoint
from runner.runs.summary import summarize_run
from runner.store.records import Batch


def cancel_run(target: str) -> tuple[RunInfo, list[str]]:
    """Cancel the newest unfinished run of a spec, or the run with this id; real runs take precedence.

    Batches in progress are canceled through the API, and unsent batches are never sent. `run` collects the
    finished results. Returns the updated run, and a message for each batch that could not be canceled. Raises
    UsageError if there is nothing to cancel.
    """
    found = find_run(target, "running", "canceling", "abandoned")
    with (
        open_run(found) as (store, run),
        open_accounts(store.path, read_endpoint(store, run), simulate=found.is_simulated) as accounts,
    ):
        # Recorded first: if this process is killed half-way, unsent batches stay unsent.
        run = store.update_run(run, is_canceled=True)
        left = [line for batch in store.batches(run) if (line := _cancel_batch(accounts, batch))]
        return replace(found, summary=summarize_run(store, run)), left


def _cancel_batch(accounts: Accounts, batch: Batch) -> str | None:
    if batch.send_mode != "batch" or batch.state not in ("submitting", "submitted"):
        return None
    if batch.batch_id is None:
        return (
            f"{batch_label(batch)} is not canceled yet: its batch ID is unknown; `runner run` finds and cancels it"
        )
    try:
        with suppress(RequestRejected):  # it has ended in the meantime
            accounts.of(batch).cancel_batch(batch.batch_id)
    except (ApiError, AccessError) as error:
        # The batches of other accounts can still be canceled.
        if isinstance(error, AccessError) and not accounts.are_named:
            raise
        return f"{batch_label(batch)} could not be canceled: {error}"
    return None
