"""Delete the stored rows and results of a run, keeping its history and cost."""

import time
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from runner.api.client import Api
from runner.errors import NotFound, RequestRejected, StateError, UsageError
from runner.evaluation.score import Score, encode_scores, without_values
from runner.lifecycle.follow.remote_batches import check_workspaces
from runner.runs.find import RunInfo, find_runs, open_run
from runner.runs.project import open_accounts
from runner.runs.snapshot import read_endpoint
from runner.store.records import Run
from runner.store.run_batches import decode_column
from runner.store.store import Store
from runner.store.uploaded_files import UploadedFiles

_ENDED_STATES = ("finished", "abandoned")


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """A run whose data was deleted from this machine; `deleted` counts batches also deleted by the API."""

    run: RunInfo
    deleted: int


def find_purgeable(target: str | None = None, *, older_than: float = 0) -> list[RunInfo]:
    """Return the runs of a project, a spec or this id that ended at least `older_than` seconds ago.

    Raises UsageError if no run matches `target`, or if none of those that match has ended.
    """
    found = find_runs(target)
    if target is not None and not any(run.summary.state in _ENDED_STATES for run in found):
        raise UsageError(
            f"{target} is {found[0].summary.state}: first finish it, or cancel it and run it to its end"
        )
    now = time.time()
    return [run for run in found if run.summary.state in _ENDED_STATES and now - run.ended_at >= older_than]


def _delete_uploaded_files(store: Store, run: Run, api: Api) -> None:
    """Delete the files that were uploaded for a run; files that another run needs are uploaded again."""
    path = store.folder(run).attachments
    if not path.exists():
        return
    uploads = UploadedFiles(store.uploads, api.base_url, api.fetch_workspace_info().workspace_id)
    ids = uploads.ids_by_mark()
    with path.open("rb") as lines:
        marks = {msgspec.json.decode(line).get("mark") for line in lines}
    for file_id in sorted(api.find_existing_files([ids[mark] for mark in marks if mark in ids])):
        with suppress(NotFound):
            api.delete_file(file_id)


def _drop_values(evaluation: str | None) -> str | None:
    """Return the stored scores of a run without the names of their classes, which are values of rows."""
    return None if evaluation is None else encode_scores(without_values(decode_column(evaluation, list[Score])))


def purge_run(run_info: RunInfo, *, remote: bool = False) -> PurgeResult:
    """Delete the rows, bodies and results of an ended run; with `remote`, the API's copies first.

    The scores of its evaluations stay, without their classes.

    This is safe to repeat. Raises AccessError or Unavailable if the API cannot be reached; nothing is then deleted
    on this machine. Raises UsageError if the API rejects the deletion of a batch, and StateError if a file cannot
    be removed.
    """
    deleted = 0
    with open_run(run_info) as (store, run):
        if remote:
            endpoint, simulate = read_endpoint(store, run), run_info.is_simulated
            with open_accounts(store.path, endpoint, simulate=simulate) as accounts:
                check_workspaces(store.batches(run), accounts)
                for _, api in accounts:
                    _delete_uploaded_files(store, run, api)
                for batch in store.batches(run):
                    if batch.batch_id is not None:
                        try:
                            accounts.of(batch).delete_batch(batch.batch_id)
                            deleted += 1
                        except NotFound:
                            continue
                        except RequestRejected as error:
                            raise UsageError(
                                f"the API does not delete {batch.batch_id} yet: {error}; run "
                                f"`runner cancel {run.id}`, and purge again after the batch has ended"
                            ) from error
        try:
            store.purge_run(run, evaluation=_drop_values(run.evaluation))
        except OSError as error:
            raise StateError(f"{error.filename} cannot be removed: {error.strerror}") from error
    return PurgeResult(run_info, deleted)
