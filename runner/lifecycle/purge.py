"""Delete the stored rows and results of a run, keeping its history and cost."""

import time
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from runner.api import Api
from runner.errors import NotFound, Refused, StateError, UsageError
from runner.lifecycle.execute import connected
from runner.lifecycle.inspect import Found, opened, runs
from runner.lifecycle.reconcile import check_account
from runner.store.records import Run
from runner.store.state import Store
from runner.store.uploads import Uploads

_DONE = ("finished", "abandoned")


@dataclass(frozen=True, slots=True)
class Purged:
    """A run whose data was deleted from this machine; `deleted` counts batches also deleted by the API."""

    run: Found
    deleted: int


def purgeable(target: str | None = None, *, older_than: float = 0) -> list[Found]:
    """Return the runs of a project, a spec or this id that ended at least `older_than` seconds ago.

    Raises UsageError if no run matches `target`, or if none of those that match has ended.
    """
    found = runs(target)
    if target is not None and not any(run.summary.state in _DONE for run in found):
        raise UsageError(
            f"{target} is {found[0].summary.state}: first finish it, or cancel it and run it to its end"
        )
    now = time.time()
    return [run for run in found if run.summary.state in _DONE and now - run.ended_at >= older_than]


def _delete_files(store: Store, run: Run, api: Api) -> None:
    """Delete the files that were uploaded for a run; files that another run needs are uploaded again."""
    path = store.folder(run).attached
    if not path.exists():
        return
    uploads = Uploads(store.path / "files.jsonl", api.base_url, api.whereabouts().workspace_id)
    ids = uploads.ids()
    with path.open("rb") as lines:
        marks = {msgspec.json.decode(line).get("mark") for line in lines}
    for file_id in sorted(api.files_there([ids[mark] for mark in marks if mark in ids])):
        with suppress(NotFound):
            api.delete_file(file_id)


def purge(found: Found, *, remote: bool = False) -> Purged:
    """Delete the rows, bodies and results of an ended run; with `remote`, the API's copies first.

    This is safe to repeat. Raises AccessError or Unavailable if the API cannot be reached; nothing is then deleted
    on this machine. Raises UsageError if the API rejects the deletion of a batch, and StateError if a file cannot
    be removed.
    """
    deleted = 0
    with opened(found) as (store, run):
        if remote:
            with connected(store.path, simulate=found.is_simulated) as api:
                check_account(store.batches(run), api)
                _delete_files(store, run, api)
                for batch in store.batches(run):
                    if batch.batch_id is not None:
                        try:
                            api.delete(batch.batch_id)
                            deleted += 1
                        except NotFound:
                            continue
                        except Refused as error:
                            raise UsageError(
                                f"the API does not delete {batch.batch_id} yet: {error}; run "
                                f"`runner cancel {run.id}`, and purge again after the batch has ended"
                            ) from error
        try:
            store.purge(run)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be removed: {error.strerror}") from error
    return Purged(found, deleted)
