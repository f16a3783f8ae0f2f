"""State that survives a crash: runs, batches and rows in SQLite, payloads in the files of each run."""

from runner.store.folder import Pieces, RunFolder, pieces
from runner.store.ids import began_at, tag, tag_of
from runner.store.known import Answered, Answers, Digests
from runner.store.records import Batch, Found, Run, Unsent
from runner.store.state import WHATEVER_ATTEMPTS, Store, open_store
from runner.store.uploads import Uploads

__all__ = [
    "WHATEVER_ATTEMPTS",
    "Answered",
    "Answers",
    "Batch",
    "Digests",
    "Found",
    "Pieces",
    "Run",
    "RunFolder",
    "Store",
    "Unsent",
    "Uploads",
    "began_at",
    "open_store",
    "pieces",
    "tag",
    "tag_of",
]
