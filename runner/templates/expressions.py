"""Jinja expressions over the record of one row; plain paths are looked up without Jinja's cost."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from jinja2 import ChainableUndefined, TemplateSyntaxError, UndefinedError, nodes

from runner.spec.schema_errors import suggest_similar
from runner.templates.sandbox import RENDER_ERRORS, make_sandbox
from runner.templates.variables import find_undeclared_names

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
"""The names that a column expression of a sink may use."""


def compile_expression(
    text: str, *, names: Collection[str] | None = RECORD_FIELDS
) -> Callable[[Mapping[str, Any]], Any]:
    """Compile a Jinja expression, for example `output.total`; missing values evaluate to None.

    Raises ValueError if it is not an expression, or uses a name that is not in `names` (None allows any name).
    The compiled function raises ValueError if it cannot be computed from the values.
    """
    environment = make_sandbox({}, ChainableUndefined)
    try:
        compiled = environment.compile_expression(text)
        tree = environment.parse(_wrap_in_template(text))
    except TemplateSyntaxError as error:
        raise ValueError(f"not an expression: {error.message}") from error
    except SyntaxError as error:
        raise ValueError(f"not an expression: {error.msg}") from error
    except RENDER_ERRORS as error:
        raise ValueError(f"not an expression: {error}") from error
    for name in sorted(find_undeclared_names(tree) - set(names)) if names is not None else ():
        raise ValueError(f"{name!r} is undefined: {suggest_similar(name, names or ())}")
    steps = _path_steps(_expression_node(tree))
    return _make_evaluator(compiled) if steps is None else _make_path_lookup(steps)


def _wrap_in_template(text: str) -> str:
    """Return a template that prints an expression, and nothing else."""
    return "{{ (" + text + ") }}"


def _expression_node(tree: nodes.Template) -> nodes.Node:
    """Return the expression in the tree of a template made by `_wrap_in_template`."""
    node: nodes.Node = tree.body[0].nodes[0]  # type: ignore[attr-defined]
    return node


def parse_path(text: str) -> list[str | int] | None:
    """Return the steps of a plain path such as `output.lines[0].total`, or None for any other expression."""
    try:
        return _path_steps(_expression_node(make_sandbox({}, ChainableUndefined).parse(_wrap_in_template(text))))
    except (TemplateSyntaxError, SyntaxError, *RENDER_ERRORS):
        return None


def _make_evaluator(compiled: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    def evaluate(names: Mapping[str, Any]) -> Any:
        try:
            value = compiled(names)
            return list(value) if isinstance(value, Iterator) else value
        except UndefinedError:
            return None
        except RENDER_ERRORS as error:
            raise ValueError(str(error)) from error

    return evaluate


def _path_steps(node: nodes.Node) -> list[str | int] | None:
    """Return the steps of the tree of a plain path such as `output.lines[0].total`, or None."""
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr):
        above, step = _path_steps(node.node), node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        above, step = _path_steps(node.node), node.arg.value
    else:
        return None
    return None if above is None else [*above, step]


def _make_path_lookup(steps: list[str | int]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function that looks up a plain path, about 20 times faster than a compiled expression."""

    def follow(names: Mapping[str, Any]) -> Any:
        value: Any = names
        for step in steps:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return None
        return value

    return follow
