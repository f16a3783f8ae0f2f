"""Find the templates that could keep something from one row to the next when they are imported.

Jinja runs a template that is imported without context once, and keeps the names that it sets. If one of these can
change, the text of a row would depend on the rows before it.
"""

from collections.abc import Iterator, Mapping

from jinja2 import nodes

from runner.templates.variables import find_referenced_templates

_PLAIN_FILTERS = frozenset(
    (
        "abs", "capitalize", "count", "default", "d", "dictsort", "float", "format", "int", "join", "length",
        "list", "lower", "replace", "round", "sort", "string", "sum", "title", "tojson", "trim", "upper",
    )
)  # fmt: skip
"""Filters whose results do not change when they are read."""


def find_stateful_templates(trees: Mapping[str, nodes.Template]) -> list[str]:
    """Return the names of the templates that can hold state, or refer to one that can.

    `trees` holds all templates that these refer to.
    """
    found = {name for name, tree in trees.items() if _can_hold_state(tree)}
    before = -1
    while before < len(found):
        before = len(found)
        for name, tree in trees.items():
            if any(used in found for used, _ in find_referenced_templates(tree)):
                found.add(name)
    return sorted(found)


def _can_hold_state(tree: nodes.Template) -> bool:
    """Return whether a value of a template's module can change: a namespace, an iterator, or an escaping mode."""
    if any(node.name == "namespace" for node in tree.find_all(nodes.Name)):
        return True
    if tree.find(nodes.EvalContextModifier) is not None:
        return True
    # A macro returns text, so that an iterator inside one cannot outlive its call.
    return any(
        isinstance(node, nodes.Filter) and node.name not in _PLAIN_FILTERS for node in _walk_outside_macros(tree)
    )


def _walk_outside_macros(node: nodes.Node) -> Iterator[nodes.Node]:
    for child in node.iter_child_nodes():
        if not isinstance(child, nodes.Macro):
            yield child
            yield from _walk_outside_macros(child)
