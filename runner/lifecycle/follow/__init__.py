"""The loop over the batches of a run.

In: a run with prepared batches. Out: all of its batches collected, round after round.
Read `next_step` first, a table of pure decisions; `perform` has one function for each step, `loop` puts them
together, `progress` is the memory of this process. `reconcile` finds lost creates again.
"""
