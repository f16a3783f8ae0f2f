"""From two runs to their differences.

In: two runs. Out: counts, causes and examples of the rows that differ, and each such row as it is found.
Read `diff` (one pass over both runs), then `pairs` (which rows belong together) and `compare` (two rows).
Nothing here changes a run.
"""
