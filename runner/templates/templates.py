"""Check the templates of a spec against the columns, and render them per row.

The data of a row is only ever a value in a template, never a template.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Any, NoReturn, cast

from jinja2 import StrictUndefined, nodes
from jinja2.nodes import EvalContext

from runner.errors import InputError, Problem
from runner.spec.spec import Spec
from runner.templates.limits import join_pieces
from runner.templates.module_state import find_stateful_templates
from runner.templates.read_paths import find_row_paths
from runner.templates.sandbox import RENDER_ERRORS, TEMPLATE_GLOBALS, Sandbox, make_sandbox
from runner.templates.suggestions import suggest_name
from runner.templates.variables import (
    find_ambiguous_names,
    find_assigned_names,
    find_first_use,
    find_referenced_templates,
    find_row_fields,
    find_tested_names,
    find_undeclared_names,
    find_used_globals,
)

Renderer = Callable[[Mapping[str, Any]], str]
"""Renders one template with the names of one row (see `Templates.variables`)."""


FOLDER = "prompts"


def is_template_file(text: str) -> bool:
    """Return whether a template in a spec names a file in prompts/, and is not inline text."""
    return text.endswith(".j2") and "\n" not in text


def template_name(setting: str, written: str) -> str:
    """Return the name of a template: its file in prompts/, or `<dotted.path>` if it is inline."""
    return written if is_template_file(written) else f"<{setting}>"


def is_inline(name: str) -> bool:
    """Return whether a template of this name stands in the spec itself."""
    return name.startswith("<")


@dataclass(frozen=True)
class Templates:
    """The templates of a spec: `texts` by name, a file in prompts/ or the `<dotted.path>` if inline."""

    spec: Spec
    texts: dict[str, str]

    @cached_property
    def _sandbox(self) -> Sandbox:
        return make_sandbox(self.texts, StrictUndefined)

    def file_texts(self) -> dict[str, str]:
        """Return the texts of the files in prompts/ that the spec uses."""
        return {name: text for name, text in self.texts.items() if not is_inline(name)}

    def variables(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the names that a row's templates can use: its fields, `row`, the spec's vars and globals."""
        return {**TEMPLATE_GLOBALS, **self.spec.vars, **fields, "row": fields}

    def make_renderer(self, setting: str, written: str) -> Renderer:
        """Return the function that renders the template written at the dotted path `setting`.

        It raises InputError with the template's file and line if the data does not fit.
        """
        sandbox, name, budget = self._sandbox, template_name(setting, written), self._sandbox.budget
        template = sandbox.get_template(name)
        root = template.root_render_func
        stateful = [sandbox.get_template(one) for one in find_stateful_templates(self._find_used_trees(name))]
        # One context serves all rows, with its parent replaced each time: creating one costs more than rendering.
        context = sandbox.context_class(sandbox, {}, setting, template.blocks)

        def render(names: Mapping[str, Any]) -> str:
            budget.start()
            for one in stateful:
                # The module of the row before would still hold what that row changed.
                one._module = None  # noqa: SLF001 - Jinja has no public way
            # Jinja only reads it.
            context.parent = cast("dict[str, Any]", names)
            context.vars.clear()
            context.exported_vars.clear()
            # A template that extends another adds the blocks of that one to these.
            context.blocks = {name: [block] for name, block in template.blocks.items()}
            try:
                return join_pieces(root(context))
            except RENDER_ERRORS as error:
                # An error inside `autoescape` leaves it on.
                context.eval_ctx = EvalContext(sandbox, setting)
                self._raise_input_error(error)

        return render

    def stop_rendering_when(self, should_stop: Callable[[], bool]) -> None:
        """End every rendering with Interrupted as soon as `should_stop` returns True."""
        self._sandbox.budget.should_stop = should_stop

    def _find_used_trees(self, name: str) -> dict[str, nodes.Template]:
        """Return the trees of a template and of all those it refers to, by name."""
        trees: dict[str, nodes.Template] = {}
        queue = [name]
        while queue:
            if (one := queue.pop()) not in trees:
                trees[one] = self._sandbox.parse(self.texts[one])
                queue += [used for used, _ in find_referenced_templates(trees[one])]
        return trees

    def is_constant(self, setting: str, written: str) -> bool:
        """Return whether the text is the same for all rows: none of its templates uses a name from the row."""
        trees = self._find_used_trees(template_name(setting, written)).values()
        used = set().union(*(find_undeclared_names(tree) | find_used_globals(tree) for tree in trees))
        return not used - set(self.spec.vars)

    def use_row(self) -> bool:
        """Return whether a template uses a name from the row."""
        return not all(self.is_constant(at, written) for at, written in self.spec.prompt.templates())

    def find_reader(self, path: Sequence[str | int]) -> tuple[str, int] | None:
        """Return the first template, with a line of it, that reads a field of the row, or what holds it."""
        for name, text in self.texts.items():
            for read, line in find_row_paths(self._sandbox.parse(text)):
                shared = min(len(read), len(path))
                if list(read[:shared]) == list(path[:shared]):
                    return name, line
        return None

    def problem(self, name: str, line: int, message: str) -> Problem:
        """Return a mistake in a template, with its file and line or its position in the spec."""
        if is_inline(name):
            return self.spec.problem(name[1:-1], f"{name[1:-1]}: {message}", line=line)
        return Problem(f"prompts/{name}", message, line)

    def _raise_input_error(self, error: Exception) -> NoReturn:
        name, line = _error_location(error.__traceback__)
        raise InputError([self.problem(name, line, str(error) or type(error).__name__)]) from error

    def check_variables(self, columns: Collection[str]) -> list[Problem]:
        """Return the mistakes of templates: undefined names, and vars that hide a column."""
        trees = {name: self._sandbox.parse(text) for name, text in self.texts.items()}
        hidden = [name for name in self.spec.vars if name in columns]
        problems = [
            self.spec.problem(f"vars.{name}", f"vars.{name} has the same name as a column: rename it")
            for name in hidden
        ]
        for template, tree in trees.items():
            for name, line, owner in find_ambiguous_names(tree):
                if name in columns:
                    message = f"`{name}` is {owner}: write row['{name}'] for the column"
                    problems.append(self.problem(template, line, message))
        offered = (*columns, *self.spec.vars, "row")
        for template, name, line in self._find_missing_names(trees, set(offered), set(columns)):
            remedy = suggest_name(name, offered)
            problem = self.problem(template, line, f"{name!r} is undefined: {remedy}")
            problems.append(replace(problem, remedy=remedy))
        return problems

    def _find_missing_names(
        self, trees: Mapping[str, nodes.Template], offered: set[str], columns: set[str]
    ) -> Iterator[tuple[str, str, int]]:
        """Yield the (template, name, line) of names that are not offered, assigned or tested before use."""
        set_somewhere = set().union(*map(find_assigned_names, trees.values()))
        asked = set().union(*map(find_tested_names, trees.values()))
        for template, tree in trees.items():
            for name in sorted(find_undeclared_names(tree) - offered - set_somewhere - asked):
                yield template, name, find_first_use(tree, name) or 0
            if "row" not in set_somewhere:
                fields = find_row_fields(tree)
                yield from ((template, name, line) for name, line in fields if name not in columns | asked)


def _error_location(traceback: TracebackType | None) -> tuple[str, int]:
    """Return the innermost template and line of a traceback."""
    origin = ("", 0)
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            origin = (template.name, template.get_corresponding_lineno(traceback.tb_lineno))
        traceback = traceback.tb_next
    return origin
