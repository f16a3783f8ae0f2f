"""Repair the mistakes of a spec in memory, so that one round of checks reports them all.

In: a document with mistakes. Out: one without, and its broken parts: their values are neutral, and
no further check looks at them. Read `document`.
"""
