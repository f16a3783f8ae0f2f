"""Judge the answers of a run by the labels and evaluations of its spec as they are now.

In: runs on disk, and their spec. Out: for each row the evaluations that it misses, and how variants compare. Read
`run_judge.py` first. Nothing is sent or changed.
"""
