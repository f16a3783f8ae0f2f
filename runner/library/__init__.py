"""The Python interface. In: a spec, and rows if a program has them. Out: a plan, or a result to iterate over.

Start with `run.run`. Nothing here prints, exits or handles signals.
"""
