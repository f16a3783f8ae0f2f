"""Commands for a person: look at the state, repair it, remove it.

In: a run or the whole project. Out: findings and repairs.
Read the module of the command: `cancel`, `unknown_batches` (`runner reconcile`), `recover`, `doctor`, `purge`.
"""
