"""An output schema in the form that structured outputs take.

In: a JSON schema. Out: the schema to send, what it cannot enforce, and the way to ask for the output instead.
Read `sent_schema` first; `merge` combines the parts of `allOf`, and `references` follows each `$ref`.
"""
