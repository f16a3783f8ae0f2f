"""A type of source or sink: its function, its settings, and the JSON schema that follows from them.

In: a function with keyword-only parameters, built in or from another package. Out: the schema of its settings.
Read `types` first. `annotations` holds types for settings, `settings` reads them from a signature,
`schema_variants` builds the schema, and `plugins` finds the types of other packages by their entry points.
`plugin_errors` names what fails in them. `limits` says what a cell of a sink can hold.
"""
