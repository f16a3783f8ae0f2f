"""State that survives a crash: runs and batches in a database, rows in the files of each run.

In: transitions of runs and batches. Out: records; each change is one transaction, each batch moves by
compare-and-set. Read `records` first, then `run_store` and `store`. `database` opens, locks and upgrades the file
of a project, and `run_folder` names the files of a run. `index` finds the rows in them, `shared` keeps a state for
several machines, `moving` moves one there and back, and `temporary` holds what need not survive.
"""
