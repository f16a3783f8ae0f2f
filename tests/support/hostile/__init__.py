"""A server that breaks the rules of the API, and the calls that must survive it."""
