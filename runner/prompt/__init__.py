"""Jinja templates and expressions: the only package that uses jinja2."""
