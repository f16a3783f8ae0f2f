"""Sink types: each module has one function whose keyword parameters are the settings of the type.

In: a destination and the columns. Out: a function that writes the values of one row. To add a type, write the
function, add it to `SINKS` in `runner/sinks/registry.py`, and run `runner reference --update`. The first line of
its docstring and the lines below `Settings:` are for users; one of them may describe `path`, the destination.
Another package adds a type by an entry point in `runner.sinks`.
"""
