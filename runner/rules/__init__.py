"""Rules that find what the API would reject, and what would waste money, before anything is sent.

In: a spec and, after planning, its figures. Out: findings, each with rule id, severity, file, line and column.
Read `run` first: it lists every rule. A rule is a function from a RuleContext to violations; to add one, write it
beside its kind and add it to `RULES`.
"""
