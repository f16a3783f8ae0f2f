"""From outputs and labels to figures: how often the answers of a run are right.

In: the `evaluate` of a spec, then one row with its output after the other. Out: a `Score` for each evaluation,
and for each row the evaluations that it misses. Nothing here knows of runs, files or requests.
Read `evaluator`, then `matching` (one answer), `metrics` and `class_table` (many), and `score` (the result).
"""
