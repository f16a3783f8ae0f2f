"""A YAML file becomes a checked, frozen Spec, or a list of all its problems with their places.

In: a path and variables. Out: `spec.Spec`, or an InputError with file, line and column of each problem.
Read `load` first: parse (`yaml`), check against schema.json (`schema_errors`), check what a schema cannot
say (`cross_field`), build (`spec`).
"""
