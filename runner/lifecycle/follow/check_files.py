"""Check the files of an unfinished run before it is followed: damage is cheaper to repair before more is paid."""

from collections.abc import Iterator
from pathlib import Path

from runner.errors import StateError
from runner.files.digest import sha256_of
from runner.runs.context import RunContext
from runner.store.run_folder import RunFolder


def check_run_files(context: RunContext) -> None:
    """Raise StateError if rows or collected results of a run are damaged, or its unsent bodies missing."""
    shared = context.store.shared
    for path, digest in _expected_files(context):
        if shared is not None:
            # A store keeps files whole. What is read of them is fetched then.
            if not shared.exists(path):
                raise _damage(context, path, "is not in the object store")
            continue
        try:
            path.stat()
            found = None if digest is None else sha256_of(path)
        except OSError as error:
            raise _damage(context, path, f"cannot be read ({error.strerror})") from error
        if found != digest:
            raise _damage(context, path, "differs from what was written")


def _expected_files(context: RunContext) -> Iterator[tuple[Path, str | None]]:
    folder, run = RunFolder(context.store.folder(context.run).path), context.run
    yield folder.rows, run.rows_sha256
    for batch in context.store.batches(run):
        if batch.state == "prepared":
            # `submit_batch` checks its digest.
            yield folder.body(batch.round, batch.batch), None
        elif batch.state == "collected" and batch.results_sha256 is not None:
            yield folder.results(batch.round, batch.batch), batch.results_sha256


def _damage(context: RunContext, path: Path, what: str) -> StateError:
    return StateError(
        f"the files of run {context.run.id} are damaged: {path} {what}. Nothing more was sent; restore it from a "
        f"backup, or {context.store.remedy}"
    )
