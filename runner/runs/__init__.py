"""A run: which one to work on, what it was started with, and how it stands.

In: a spec and a store. Out: a RunContext that every step shares, a summary for people.
Read `context` first, then `select` (resume, reuse or start a run) and `snapshot` (the spec as it was started).
"""
