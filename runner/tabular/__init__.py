"""Typed columns, Parquet files and database tables, shared by sources and sinks.

In: rows of values and the JSON schemas of their columns. Out: the same rows in the types of a file or a table.
Read `column_types` first. `database`, `tables`, `table_limits` and `write_rows` are the only modules that import
SQLAlchemy, `parquet`, `parquet_writer` and `arrow_rows` the only ones that import pyarrow.
"""
