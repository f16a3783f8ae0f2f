"""Jinja templates and expressions, in a sandbox with size limits.

In: template files, inline text, expressions. Out: rendered text, or the value of an expression.
Read `templates` first. This is the only package that imports jinja2.
"""
