"""Source types: each module has one function whose keyword parameters are the settings of the type.

In: `Inputs` and the settings. Out: (path, line, fields) of each row. To add a type, write the function, add it to
`SOURCES` in `runner/sources/registry.py`, and run `runner reference --update`. The first line of its docstring and
the lines below `Settings:` are for users. Another package adds a type by an entry point in `runner.sources`.
"""
