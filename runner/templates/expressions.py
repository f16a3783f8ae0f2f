"""Jinja expressions over the record of one row; plain paths are looked up without Jinja's cost."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import ChainableUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2.parser import Parser

from runner.spec.schema_errors import suggest_similar
from runner.templates.known_fields import find_unknown_field, path_steps
from runner.templates.sandbox import RENDER_ERRORS, Sandbox, make_sandbox
from runner.templates.suggestions import (
    suggest_column_path,
    suggest_expression,
    suggest_filter,
    suggest_row_field,
)
from runner.templates.variables import find_first_use, find_undeclared_names

RECORD_FIELDS = (
    "key",
    "row",
    "outcome",
    "output",
    "error",
    "usage",
    "stop_reason",
    "model",
    "custom_id",
    "batch_id",
)
"""The fields of a record in every sink without columns."""

PROVENANCE_FIELDS = ("run", "round", "attempts", "cost", "prompt_sha256", "finished_at")
"""The fields of a record that say where it comes from, which only columns have."""

EXPRESSION_NAMES = (*RECORD_FIELDS, "reason", "variant", "citations", "wrong", *PROVENANCE_FIELDS)
"""The names that a column expression of a sink may use."""


class ExpressionError(ValueError):
    """A text is not a valid expression. `line` counts from 1 inside the text."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


def compile_expression(
    text: str, *, names: Collection[str] | None = EXPRESSION_NAMES, schemas: Mapping[str, Any] | None = None
) -> Callable[[Mapping[str, Any]], Any]:
    """Compile a Jinja expression, for example `output.total`; missing values evaluate to None.

    Raises ExpressionError if it is not an expression, or uses a name that is not in `names` (None allows any name)
    or a field that the JSON schema of its name in `schemas` rules out. The compiled function raises ValueError if
    it cannot be computed from the values.
    """
    environment = make_sandbox({}, ChainableUndefined)
    try:
        tree = _parse(environment, text)
        used = find_undeclared_names(tree)
        evaluate = _make_path_lookup(tree) or _make_evaluator(environment, text)
    except TemplateSyntaxError as error:
        remedy = suggest_column_path(text, (schemas or {}).get("row", {}).get("properties", ()))
        remedy = remedy or suggest_expression(text, _is_expression)
        message = f"not an expression: {error.message}{remedy and f': {remedy}'}"
        raise ExpressionError(message, error.lineno) from error
    except SyntaxError as error:
        raise ExpressionError(f"not an expression: {error.msg}") from error
    except RENDER_ERRORS as error:
        raise ExpressionError(f"not an expression: {error}") from error
    for name in sorted(used - set(names)) if names is not None else ():
        columns = (schemas or {}).get("row", {}).get("properties", ()) if "row" in (names or ()) else ()
        remedy = suggest_filter(name, text) or suggest_row_field(name, columns)
        message = f"{name!r} is undefined: {remedy or suggest_similar(name, names or ())}"
        raise ExpressionError(message, find_first_use(tree, name) or 1)
    if (unknown := find_unknown_field(tree, schemas or {})) is not None:
        raise ExpressionError(*unknown)
    return evaluate


def _parse(environment: Sandbox, text: str) -> nodes.Template:
    """Return the tree of a template that prints an expression. Raises TemplateSyntaxError."""
    parser = Parser(environment, text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        raise TemplateSyntaxError("chunk after expression", parser.stream.current.lineno)
    tree = nodes.Template([nodes.Output([expression], lineno=1)], lineno=1)
    tree.set_environment(environment)
    return tree


def _is_expression(text: str) -> bool:
    try:
        make_sandbox({}, ChainableUndefined).compile_expression(text)
    except (TemplateSyntaxError, SyntaxError, *RENDER_ERRORS):
        return False
    return True


def _find_steps(tree: nodes.Template) -> list[str | int] | None:
    """Return the steps of the plain path in a tree made by `_parse`, or None for any other expression."""
    return path_steps(next(tree.find_all(nodes.Output)).nodes[0])


def parse_path(text: str) -> list[str | int] | None:
    """Return the steps of a plain path such as `output.lines[0].total`, or None for any other expression."""
    try:
        return _find_steps(_parse(make_sandbox({}, ChainableUndefined), text))
    except (TemplateSyntaxError, SyntaxError, *RENDER_ERRORS):
        return None


def parse_filtered_path(text: str) -> list[str | int] | None:
    """Return the steps of a plain path, also of one with filters behind it; None for any other expression."""
    try:
        node = next(_parse(make_sandbox({}, ChainableUndefined), text).find_all(nodes.Output)).nodes[0]
    except (TemplateSyntaxError, SyntaxError, *RENDER_ERRORS):
        return None
    while isinstance(node, nodes.Filter) and node.node is not None:
        node = node.node
    return path_steps(node)


def compile_filtered_path(text: str) -> Callable[[Mapping[str, Any]], Any] | None:
    """Return a lookup of the path that filters are applied to, such as `row.total` in `row.total | float`.

    Return None for an expression of another form, and if `default` replaces a missing value on purpose.
    """
    node = next(_parse(make_sandbox({}, ChainableUndefined), text).find_all(nodes.Output)).nodes[0]
    if not isinstance(node, nodes.Filter):
        return None
    while isinstance(node, nodes.Filter) and node.node is not None:
        if node.name in ("default", "d"):
            return None
        node = node.node
    steps = path_steps(node)
    return None if steps is None else _make_lookup(steps)


def find_expression_names(text: str) -> set[str]:
    """Return the names that an expression reads. Raises TemplateSyntaxError if it is not an expression."""
    return find_undeclared_names(_parse(make_sandbox({}, ChainableUndefined), text))


def _make_evaluator(environment: Sandbox, text: str) -> Callable[[Mapping[str, Any]], Any]:
    compiled = environment.compile_expression(text)

    def evaluate(names: Mapping[str, Any]) -> Any:
        environment.budget.start()
        try:
            value = compiled(names)
            return list(value) if isinstance(value, Iterator) else value
        except UndefinedError:
            return None
        except RENDER_ERRORS as error:
            raise ValueError(str(error)) from error

    return evaluate


def _make_path_lookup(tree: nodes.Template) -> Callable[[Mapping[str, Any]], Any] | None:
    """Return a function that looks up a plain path, or None for any other expression.

    It is made ten times and called twenty times faster than a compiled expression.
    """
    steps = _find_steps(tree)
    return None if steps is None else _make_lookup(steps)


def _make_lookup(steps: Sequence[str | int]) -> Callable[[Mapping[str, Any]], Any]:
    def follow(names: Mapping[str, Any]) -> Any:
        value: Any = names
        for step in steps:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return None
        return value

    return follow
