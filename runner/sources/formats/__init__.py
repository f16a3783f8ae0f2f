"""Source types: each module has one function whose keyword parameters are the settings of the type.

In: `Inputs` and the settings. Out: (path, line, fields) of each row. To add a type, write the function and add
it to `SOURCES` in `runner/sources/read.py`.
"""
