"""Outcomes out.

In: the final record of each row. Out: files, tables and objects that appear whole or not at all.
Read `open` first. Each type is one function in `formats/`, listed in `registry`; `check` finds problems before
anything is paid, `destination` resolves paths and URLs, `column_schemas` finds the type of each column,
`fit` cuts text or refuses it, `plugin_writer` names the sinks of other packages that fail.
"""
