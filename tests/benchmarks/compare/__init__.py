"""The runner beside a script written by hand."""
