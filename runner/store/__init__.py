"""What must survive a crash: runs, batches and rows in SQLite, payloads in the files of each run."""

from runner.store.folder import Pieces, RunFolder, pieces
from runner.store.state import Batch, Run, Store, open_store

__all__ = ["Batch", "Pieces", "Run", "RunFolder", "Store", "open_store", "pieces"]
