"""Check that requests on disk are those that were prepared: a text that was damaged can still be valid JSON."""

from runner.errors import StateError
from runner.requests.stored_params import StoredBody
from runner.runs.context import RunContext
from runner.store.records import Batch


def check_body(context: RunContext, batch: Batch) -> StoredBody:
    """Return the body of a batch.

    Raises StateError unless what would be sent is what was prepared, and FileChanged for a file that it attaches.
    """
    body = StoredBody(context.store.folder(context.run).body(batch.round, batch.batch), context.spec.root)
    if not body.is_intact(batch.sha256):
        raise StateError(
            f"{body.path} was changed after it was written: its SHA-256 digest differs from the recorded one"
        )
    return body
