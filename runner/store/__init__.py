"""State that survives a crash: runs, batches and rows in SQLite, payloads in the files of each run."""
