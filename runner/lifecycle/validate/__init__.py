"""From a spec file to everything that is wrong with it, before anything is sent.

In: a Spec, even one with broken parts. Out: findings, each with its place and remedy; and templates to go on with.
Read `checks`, then `sample` and `facts`.
"""
