"""The reference of everything that a user can write, and the JSON schema of specs, both generated.

In: the schema, the types of sources and sinks, rules, errors, faults, and the commands as plain data.
Out: schema.json with a variant for each type, and one page of Markdown.
Read `spec_schema` first, then `page`.
"""
