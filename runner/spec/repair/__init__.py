"""Repair the mistakes of a spec in memory, so that one round of checks reports them all.

In: a text or document with mistakes. Out: one without, and its broken parts: their values are neutral, and
no further check looks at them. Read `document`; `quoting` does the same for text that is not YAML.
"""
