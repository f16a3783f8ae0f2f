"""Compare the objects of a shared state with its database, by their names and sizes: none is downloaded."""

from collections.abc import Iterator

from runner.files.object_store import StoredFile
from runner.runs.context import batch_label
from runner.store.index.index_files import DUPLICATE, REQUEST, RESULT, UNSENT, index_name
from runner.store.records import Batch, Run
from runner.store.shared.shared_files import SharedFiles
from runner.store.store import Store

Sizes = dict[str, StoredFile]


def check_objects(store: Store, shared: SharedFiles, run: Run) -> Iterator[str]:
    """Yield the objects of a prepared run that are missing, or whose size cannot be right."""
    stored = shared.list_run(run.id)
    names = ["spec.json"] if run.purged_at is not None else ["spec.json", "rows.jsonl"]
    yield from (f"{name} is missing in the object store" for name in names if name not in stored)
    if run.purged_at is not None:
        return
    for kind, sha256, size in (
        ("unsent", run.unsent_index, UNSENT.size),
        ("duplicates", run.duplicate_index, DUPLICATE.size),
    ):
        yield from _check_index(stored, kind, sha256, size)
    for batch in store.batches(run):
        yield from (f"{batch_label(batch)}: {line}" for line in _check_batch(stored, run, batch))


def _check_batch(stored: Sizes, run: Run, batch: Batch) -> Iterator[str]:
    name = f"{batch.round}-{batch.batch}"
    yield from _check_index(stored, f"{name}.requests", batch.request_index, REQUEST.size, batch.requests)
    yield from _check_index(stored, f"{name}.results", batch.result_index, RESULT.size)
    if batch.results_sha256 is not None and f"results/{name}.jsonl" not in stored:
        yield f"results/{name}.jsonl is missing in the object store"
    if batch.state == "collected" and run.state != "running":
        return
    body = stored.get(f"bodies/{name}.json")
    if body is None:
        yield f"bodies/{name}.json is missing in the object store"
    elif body.size > batch.bytes:
        # It is smaller if it has references in the place of attached files.
        yield f"bodies/{name}.json has {body.size:,} bytes, more than the {batch.bytes:,} that are sent"


def _check_index(
    stored: Sizes, name: str, sha256: str | None, record_bytes: int, records: int | None = None
) -> Iterator[str]:
    """Check an index file of records of equal size, whose number may be known."""
    if sha256 is None:
        return
    path = f"index/{index_name(name, sha256)}"
    if path not in stored:
        yield f"{path} is missing in the object store"
        return
    size = stored[path].size
    if size % record_bytes or (records is not None and size != records * record_bytes):
        yield f"{path} has {size:,} bytes, which is not the size that was written"


def find_stray_runs(store: Store, shared: SharedFiles) -> Iterator[str]:
    """Yield the runs that have objects but are not in the database."""
    # Listed first: a run is in the database before it has any object.
    found = shared.list_runs()
    for run in sorted(set(found) - {run.id for run in store.runs()}):
        names = shared.list_run(run)
        # In a store that is a folder, a file that was deleted leaves its folders behind.
        if not names:
            continue
        is_sent = any(name.endswith((".sent", ".noted")) for name in names)
        remedy = f"nothing was sent: {shared.describe_deletion(run)}"
        effect = "it was sent: `runner recover SPEC` rebuilds it" if is_sent else remedy
        yield f"run {run} has files in {shared.url}/runs/{run}, but is not in the database; {effect}"
