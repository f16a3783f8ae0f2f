"""Jinja templates and expressions: the only package that uses jinja2."""

from runner.prompt.expression import RECORD, expression, path_of
from runner.prompt.templates import Renderer, Templates, load_templates

__all__ = ["RECORD", "Renderer", "Templates", "expression", "load_templates", "path_of"]
