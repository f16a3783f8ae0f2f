"""One line of a results file becomes one outcome.

In: raw lines, and the output format of a spec. Out: an Outcome with its output, error and usage.
Read `outcome` first, then `output_format` (extraction, with `json_answer` and `validator`) and `usage` (tokens).
"""
