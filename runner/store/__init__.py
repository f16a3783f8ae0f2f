"""What must survive a crash: runs, batches and rows in SQLite, payloads in the files of each run."""

from runner.store.folder import Pieces, RunFolder, pieces
from runner.store.state import Batch, Found, Run, Store, began_at, open_store, tag, tag_of

__all__ = [
    "Batch",
    "Found",
    "Pieces",
    "Run",
    "RunFolder",
    "Store",
    "began_at",
    "open_store",
    "pieces",
    "tag",
    "tag_of",
]
