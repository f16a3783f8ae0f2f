"""State that survives a crash: runs, batches and rows in SQLite, payloads in the files of each run.

In: transitions of runs and batches. Out: records; each change is one transaction, each batch moves by
compare-and-set. Read `records` first, then `store`. `database` opens, locks and upgrades the file; `run_folder`
names the files of a run, and `shared_files` keeps them in an object store.
"""
