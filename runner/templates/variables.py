"""Static analysis of parsed templates: the templates they refer to, and the names they use."""

from collections.abc import Iterator

from jinja2 import TemplateSyntaxError, meta, nodes

from runner.templates.sandbox import TEMPLATE_GLOBALS


def find_referenced_templates(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield the (name, line) of every template that this one includes, imports or extends.

    Raises TemplateSyntaxError for a computed name.
    """
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        template = next(node.iter_child_nodes(only=("template",)))
        name = template.value if isinstance(template, nodes.Const) else None
        if not isinstance(name, str):
            raise TemplateSyntaxError("the name of an included template must be a constant", node.lineno)
        yield name, node.lineno


def find_undeclared_names(tree: nodes.Template) -> set[str]:
    """Return the names that a template reads from its context."""
    return meta.find_undeclared_variables(tree) - set(TEMPLATE_GLOBALS)


def find_used_globals(tree: nodes.Template) -> set[str]:
    """Return the names of globals that a template uses; a column can have the same name."""
    return {node.name for node in tree.find_all(nodes.Name)} & set(TEMPLATE_GLOBALS)


def find_assigned_names(tree: nodes.Template) -> set[str]:
    """Return the names that a template assigns: by `set`, in loops, as macro arguments."""
    return {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}


def find_first_use(tree: nodes.Template, name: str) -> int | None:
    """Return the first line that reads a name, or None."""
    lines = [node.lineno for node in tree.find_all(nodes.Name) if node.name == name and node.ctx == "load"]
    return min(lines, default=None)


# Filters that make sense for a whole row, and not for the text of a column.
_ROW_FILTERS = ("tojson", "items", "dictsort", "list", "length", "count", "xmlattr", "pprint")


def find_ambiguous_names(tree: nodes.Template) -> Iterator[tuple[str, int, str]]:
    """Yield the (name, line, owner) of names that mean something else than a column of that name."""
    if (line := find_first_use(tree, "self")) is not None:
        yield "self", line, "reserved by Jinja"
    loops = [node for loop in tree.find_all(nodes.For) for part in loop.body for node in _find_names(part, "loop")]
    if loops:
        yield "loop", min(node.lineno for node in loops), "Jinja's inside a loop"
    for output in tree.find_all(nodes.Output):
        for shown in output.nodes:
            while isinstance(shown, nodes.Filter) and shown.node is not None and shown.name not in _ROW_FILTERS:
                shown = shown.node
            if isinstance(shown, nodes.Name) and shown.name == "row":
                yield "row", shown.lineno, "the whole row"


def _find_names(node: nodes.Node, name: str) -> list[nodes.Name]:
    own = [node] if isinstance(node, nodes.Name) else []
    return [one for one in (*own, *node.find_all(nodes.Name)) if one.name == name and one.ctx == "load"]


def find_tested_names(tree: nodes.Template) -> set[str]:
    """Return the names that a template tests before use: `is defined`, `default(...)`, `'name' in row`."""
    tests = [node.node for node in tree.find_all(nodes.Test) if node.name in ("defined", "undefined")]
    filters = [node.node for node in tree.find_all(nodes.Filter) if node.name in ("default", "d")]
    asked = [node.expr for node in tree.find_all(nodes.Compare)]
    guarded = {node.name for node in (*tests, *filters) if isinstance(node, nodes.Name)}
    guarded |= {node.attr for node in (*tests, *filters) if isinstance(node, nodes.Getattr)}
    return guarded | {
        node.value for node in asked if isinstance(node, nodes.Const) and isinstance(node.value, str)
    }


def find_row_fields(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield the (name, line) of every `row.name` and `row['name']`, except calls of a mapping's own methods."""
    called = {id(node.node) for node in tree.find_all(nodes.Call)}
    node: nodes.Getattr | nodes.Getitem
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):  # type: ignore[assignment]
        if not (isinstance(node.node, nodes.Name) and node.node.name == "row"):
            continue
        if isinstance(node, nodes.Getattr):
            is_method = id(node) in called and hasattr(dict, node.attr)
            if not is_method:
                yield node.attr, node.lineno
        elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            yield node.arg.value, node.lineno
