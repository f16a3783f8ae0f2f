"""From rows to requests, rendered elsewhere: in other processes, or on other machines.

In: templates and rows. Out: each row with its request, in the order of the rows and the bytes of one process.
Read `encode`. `processes` starts processes of this machine; `cluster` uses Dask, or any Executor.
"""
