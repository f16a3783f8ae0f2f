"""Find the templates of a spec in prompts/, check them against the columns, and render them per row.

The data of a row is only ever a value in a template, never a template.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, cast

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.nodes import EvalContext

from runner.errors import InputError, Problem
from runner.files.regular import read_regular_file
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Spec
from runner.templates.limits import join_pieces
from runner.templates.module_state import find_stateful_templates
from runner.templates.read_paths import find_row_paths
from runner.templates.sandbox import RENDER_ERRORS, TEMPLATE_GLOBALS, Sandbox, make_sandbox
from runner.templates.suggestions import suggest_column_tag, suggest_name
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


_FOLDER = "prompts"


def is_template_file(text: str) -> bool:
    """Return whether a template in a spec names a file in prompts/, and is not inline text."""
    return text.endswith(".j2") and "\n" not in text


def _template_name(setting: str, written: str) -> str:
    """Return the name of a template: its file in prompts/, or `<dotted.path>` if it is inline."""
    return written if is_template_file(written) else f"<{setting}>"


def _is_inline(name: str) -> bool:
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
        return {name: text for name, text in self.texts.items() if not _is_inline(name)}

    def variables(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the names that a row's templates can use: its fields, `row`, the spec's vars and globals."""
        return {**TEMPLATE_GLOBALS, **self.spec.vars, **fields, "row": fields}

    def make_renderer(self, setting: str, written: str) -> Renderer:
        """Return the function that renders the template written at the dotted path `setting`.

        It raises InputError with the template's file and line if the data does not fit.
        """
        sandbox, name, budget = self._sandbox, _template_name(setting, written), self._sandbox.budget
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
        trees = self._find_used_trees(_template_name(setting, written)).values()
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
        if _is_inline(name):
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


def _template_line(environment: Sandbox, text: str, error: SyntaxError) -> int:
    """Return the template line of the line of Python where the compiler stopped."""
    if error.filename != "<template>":
        return 1  # An invalid number: only its text is known, not its line.
    source = environment.compile(text, raw=True)
    lines = [pair.split("=") for pair in re.findall(r"[0-9]+=[0-9]+", source.rpartition("debug_info = ")[2])]
    return [1, *(int(line) for line, python in lines if int(python) <= (error.lineno or 0))][-1]


def _read_template(folder: Path, name: str) -> str:
    """Return the text of a template. Raises FileNotFoundError, and ValueError for one that cannot be used."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is outside prompts/: a template must be inside it, also after following links")
    try:
        return read_regular_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"prompts/{name} is not UTF-8 text") from error
    except OSError as error:
        if path.exists() and not path.is_dir():
            raise ValueError(f"cannot read prompts/{name}: {error.strerror}") from error
        raise FileNotFoundError(f"no template prompts/{name}") from error


def _list_templates(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*.j2") if file.is_file())


@dataclass(frozen=True, slots=True)
class _TemplateLoader:
    """A loader that reads templates and all those they refer to, and collects their mistakes."""

    templates: Templates
    problems: list[Problem]
    columns: Collection[str] = ()

    def load_file(self, name: str, referenced_from: Problem) -> None:
        """Read a template and those it refers to; `referenced_from` is the position that names it."""
        if name in self.templates.texts and not _is_inline(name):
            return
        try:
            if _is_inline(name):
                raise ValueError(f"{name} is not a file in prompts/")
            self.templates.texts[name] = _read_template(self.templates.spec.root / _FOLDER, name)
        except ValueError as error:
            self.problems.append(replace(referenced_from, message=str(error)))
        except FileNotFoundError as error:
            self._report_missing(name, replace(referenced_from, message=str(error)))
        else:
            self.load_references(name)

    def _report_missing(self, name: str, problem: Problem) -> None:
        """Note a missing template, and go on with the one that has the nearest name, if there is one."""
        folder = self.templates.spec.root / _FOLDER
        known = _list_templates(folder)
        remedy = suggest_similar(name, known) if known else f"{folder} contains no templates"
        self.problems.append(replace(problem, message=f"{problem.message}: {remedy}", remedy=remedy))
        for near in get_close_matches(name, known, n=1, cutoff=0.6):
            self.load_file(near, problem)

    def load_references(self, name: str) -> None:
        """Compile a template that was read, and load those it refers to; drop it if it is not valid."""
        environment = make_sandbox({}, StrictUndefined)
        text = self.templates.texts[name]
        try:
            referenced = list(find_referenced_templates(environment.parse(text)))
            environment.compile(text)
        except (TemplateSyntaxError, SyntaxError, *RENDER_ERRORS) as error:
            line, message = _describe_invalid(environment, text, error)
            remedy = suggest_column_tag(text, line, self.columns)
            problem = self.templates.problem(name, line, f"{message}{remedy and f': {remedy}'}")
            self.problems.append(replace(problem, remedy=remedy))
            del self.templates.texts[name]
            return
        for used, line in referenced:
            self.load_file(used, self.templates.problem(name, line, ""))


def _describe_invalid(environment: Sandbox, text: str, error: Exception) -> tuple[int, str]:
    """Return the line and the message of the error of a template that cannot be compiled."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno, error.message or "invalid template"
    if isinstance(error, SyntaxError):
        # Jinja generated invalid Python: a duplicate argument, or blocks that are nested too deep.
        return _template_line(environment, text, error), error.msg
    return 1, str(error)


def read_templates(spec: Spec, columns: Collection[str] = ()) -> tuple[Templates, list[Problem]]:
    """Read every template that the spec uses, also through `include`, `import` and `extends`.

    Returns those that can be used, and the problems of those that are missing, outside prompts/ or invalid.
    `columns` are the known columns of the source, for better messages.
    """
    loader = _TemplateLoader(Templates(spec, {}), [], columns)
    for at, text in spec.prompt.templates():
        if is_template_file(text):
            loader.load_file(text, spec.problem(at, ""))
        else:
            loader.templates.texts[_template_name(at, text)] = text
            loader.load_references(_template_name(at, text))
    return loader.templates, list(dict.fromkeys(loader.problems))


def load_templates(spec: Spec) -> Templates:
    """Read every template that the spec uses. Raises InputError with every problem of `read_templates`."""
    templates, problems = read_templates(spec)
    if problems:
        raise InputError(problems)
    return templates
