"""Strict YAML as plain values, with the place of each one.

In: the bytes of a file. Out: a Document, or problems with their places. Read `document`: it builds values from
`nodes`, and puts quotes around values that YAML would read as something else (`quoting`).
"""
