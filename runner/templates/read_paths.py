"""Find the parts of a row that a template reads: `gold`, `row.gold`, `row['gold']`, `row | tojson`."""

from collections.abc import Iterator

from jinja2 import nodes

from runner.templates.known_fields import path_steps
from runner.templates.variables import find_assigned_names

_PATHS = (nodes.Name, nodes.Getattr, nodes.Getitem)


def find_row_paths(tree: nodes.Template) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Yield the path below the row, and the line, of all that a template reads; the whole row has no steps.

    A row that is passed to a macro, or only asked for a name, does not count as read.
    """
    assigned, calls = find_assigned_names(tree), {id(call.node): call for call in tree.find_all(nodes.Call)}
    inner = {id(node.node) for node in tree.find_all(nodes.Getattr)}
    inner |= {id(node.node) for node in tree.find_all(nodes.Getitem)}
    inner |= {id(one.expr) for one in tree.find_all(nodes.Operand) if one.op in ("in", "notin")}
    inner |= {id(argument) for call in calls.values() for argument in call.args}
    for node in tree.find_all(_PATHS):
        steps = None if id(node) in inner else path_steps(node)
        if steps is None or steps[0] in assigned:
            continue
        if id(node) in calls:
            # A method: `row.get('gold')` reads a field, and `row.items()` all of them.
            arguments = calls[id(node)].args[:1] if steps[-1] == "get" else []
            steps = [*steps[:-1], *(one.value for one in arguments if isinstance(one, nodes.Const))]
        if steps:
            yield tuple(steps[1:] if steps[0] == "row" else steps), node.lineno
