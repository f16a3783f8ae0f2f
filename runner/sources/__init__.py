"""Rows in.

In: the `source` of a spec. Out: `read.Row` in order, with the file and line of each.
Read `read` first. Each type is one function in `formats/`, listed in `registry`; `input_files` finds and
opens files, `changed_files` compares them later, `select_rows` applies `where`, `sample`, `limit` and `columns`,
`plugin_rows` checks the rows of other packages.
"""
