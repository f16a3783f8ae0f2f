"""Tasks that are done elsewhere: in other processes, on other machines, or on any Executor.

In: parts of a job's rows or results. Out: what a task makes of each, in the order of the parts.
Read `run_tasks`, then `tasks`. `processes` starts processes of this machine; `cluster` uses Dask.
"""
