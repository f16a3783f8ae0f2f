"""Sink types: each module has one function whose keyword parameters are the settings of the type.

In: a destination and the columns. Out: a function that writes the values of one row. To add a type, write the
function and add it to `SINKS` in `runner/sinks/registry.py`.
"""
