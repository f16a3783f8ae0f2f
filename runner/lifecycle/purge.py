"""What a run holds of rows and answers, removed; that it was, and what it cost, stays known."""

import time
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from runner.api import Api
from runner.errors import NotFound, Refused, StateError, UsageError
from runner.lifecycle.execute import connected
from runner.lifecycle.inspect import Found, opened, runs
from runner.lifecycle.reconcile import check_account
from runner.store import Run, Store, Uploads

_DONE = ("finished", "abandoned")


@dataclass(frozen=True, slots=True)
class Purged:
    """A run whose payloads are gone from this machine; `deleted` counts the batches that the API deleted too."""

    run: Found
    deleted: int


def purgeable(target: str | None = None, *, older_than: float = 0) -> list[Found]:
    """The ended runs of a project, of a spec, or with this id, that ended more than `older_than` seconds ago.

    Raises UsageError if `target` names none, or a run that has not ended.
    """
    found = runs(target)
    if target is not None and not any(run.summary.state in _DONE for run in found):
        raise UsageError(
            f"{target} is {found[0].summary.state}: finish it, or cancel it and run it to its end, first"
        )
    now = time.time()
    return [run for run in found if run.summary.state in _DONE and now - run.ended_at >= older_than]


def _delete_files(store: Store, run: Run, api: Api) -> None:
    """Delete the files that were uploaded for a run; what another run needs is uploaded again."""
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
    """Remove the rows, bodies and results of an ended run; with `remote` the API's copies first.

    Doing it again does no harm. Raises AccessError or Unavailable if the API cannot be asked, with nothing removed
    here; and StateError if a file cannot be removed.
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
                                f"the API does not delete {batch.batch_id} yet: {error}; "
                                f"`runner cancel {run.id}`, and purge once it has ended"
                            ) from error
        try:
            store.purge(run)
        except OSError as error:
            raise StateError(f"{error.filename} cannot be removed: {error.strerror}") from error
    return Purged(found, deleted)
