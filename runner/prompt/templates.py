"""The templates of a spec: found in prompts/, checked against what the source offers, rendered for one row.

Row data is only ever a value in a template, never a template.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes

from runner.errors import InputError, Problem
from runner.prompt.limits import joined
from runner.prompt.names import assigned, fields_of_row, first_use, guarded, references, undeclared, used_globals
from runner.prompt.sandbox import DATA_ERRORS, GLOBALS, Sandbox, sandbox
from runner.spec import Spec, suggest

Renderer = Callable[[Mapping[str, Any]], str]
"""Turns the names of one row (see `Templates.names`) into the text of one template."""

_FOLDER = "prompts"


def is_file(text: str) -> bool:
    """Whether a template as written in a spec names a file in prompts/, rather than being inline text."""
    return text.endswith(".j2") and "\n" not in text


def _name(at: str, written: str) -> str:
    """The name of a template: its file in prompts/, or its dotted path in brackets if it is inline."""
    return written if is_file(written) else f"<{at}>"


def _is_inline(name: str) -> bool:
    return name.startswith("<")


@dataclass(frozen=True)
class Templates:
    """The templates of one spec: `texts` by name, a file in prompts/ or the `<dotted.path>` of an inline one."""

    spec: Spec
    texts: dict[str, str]

    @cached_property
    def _sandbox(self) -> Sandbox:
        return sandbox(self.texts, StrictUndefined)

    def files(self) -> dict[str, str]:
        """The text of every file in prompts/ that the spec reaches."""
        return {name: text for name, text in self.texts.items() if not _is_inline(name)}

    def names(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What templates see of a row: its fields, `row`, the spec's vars and the few globals."""
        return {**GLOBALS, **self.spec.vars, **fields, "row": fields}

    def renderer(self, at: str, written: str) -> Renderer:
        """The function that renders the template written at the dotted path `at`.

        It raises InputError with the template's file and line where the data does not fit.
        """
        template = self._sandbox.get_template(_name(at, written))
        root = template.root_render_func
        # One context serves all rows, its parent replaced each time: making one costs more than rendering does.
        context = self._sandbox.context_class(self._sandbox, {}, at, template.blocks)

        def render(names: Mapping[str, Any]) -> str:
            context.parent = names  # type: ignore[assignment]
            context.vars.clear()
            context.exported_vars.clear()
            # A template that extends another adds the other's blocks to these.
            context.blocks = {name: [block] for name, block in template.blocks.items()}
            try:
                return joined(root(context))
            except DATA_ERRORS as error:
                self._fail(error)

        return render

    def is_constant(self, at: str, written: str) -> bool:
        """Whether the text is the same for every row: no template that it reaches uses a name from the row."""
        reached, queue, used = set(), [_name(at, written)], set[str]()
        while queue:
            if (name := queue.pop()) not in reached:
                reached.add(name)
                tree = self._sandbox.parse(self.texts[name])
                queue += [named for named, _ in references(tree)]
                used |= undeclared(tree) | used_globals(tree)
        return not used - set(self.spec.vars)

    def problem(self, name: str, line: int, message: str) -> Problem:
        """A mistake in a template, at its file and line or at its place in the spec."""
        if _is_inline(name):
            return self.spec.problem(name[1:-1], f"{name[1:-1]}: {message}", line=line)
        return Problem(f"prompts/{name}", message, line)

    def _fail(self, error: Exception) -> NoReturn:
        name, line = _origin(error.__traceback__)
        raise InputError([self.problem(name, line, str(error) or type(error).__name__)]) from error

    def check(self, columns: Collection[str]) -> list[Problem]:
        """The names that templates use and the source does not offer, and vars that hide a column."""
        trees = {name: self._sandbox.parse(text) for name, text in self.texts.items()}
        hidden = [name for name in self.spec.vars if name in columns]
        problems = [
            self.spec.problem(f"vars.{name}", f"vars.{name} has the name of a column of the source: rename it")
            for name in hidden
        ]
        for template, tree in trees.items():
            line = first_use(tree, "self")
            if "self" in columns and line is not None:
                message = "`self` is Jinja's own name: write row['self'] for the column"
                problems.append(self.problem(template, line, message))
        offered = (*columns, *self.spec.vars, "row")
        for template, name, line in self._missing(trees, set(offered), set(columns)):
            problems.append(self.problem(template, line, f"{name!r} is not offered: {suggest(name, offered)}"))
        return problems

    def _missing(
        self, trees: Mapping[str, nodes.Template], offered: set[str], columns: set[str]
    ) -> Iterator[tuple[str, str, int]]:
        """The (template, name, line) of names that nothing offers, assigns or asks about first."""
        set_somewhere = set().union(*map(assigned, trees.values()))
        asked = set().union(*map(guarded, trees.values()))
        for template, tree in trees.items():
            for name in sorted(undeclared(tree) - offered - set_somewhere - asked):
                yield template, name, first_use(tree, name) or 0
            if "row" not in set_somewhere:
                fields = fields_of_row(tree)
                yield from ((template, name, line) for name, line in fields if name not in columns | asked)


def _origin(traceback: TracebackType | None) -> tuple[str, int]:
    """The innermost template and line that a traceback passed through."""
    origin = ("", 0)
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            origin = (template.name, template.get_corresponding_lineno(traceback.tb_lineno))
        traceback = traceback.tb_next
    return origin


def _line(environment: Sandbox, text: str, error: SyntaxError) -> int:
    """The line of a template that became the line of Python at which the compiler stopped."""
    if error.filename != "<template>":
        return 1  # a number that is none, of which only the text is known
    source = environment.compile(text, raw=True)
    lines = [pair.split("=") for pair in re.findall(r"[0-9]+=[0-9]+", source.rpartition("debug_info = ")[2])]
    return [1, *(int(line) for line, python in lines if int(python) <= (error.lineno or 0))][-1]


def _read(folder: Path, name: str) -> str:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is outside prompts/: templates cannot leave it, nor follow a link out of it")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"prompts/{name} is not UTF-8 text") from error
    except OSError as error:
        known = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.j2") if file.is_file())
        hint = f": {suggest(name, known)}" if known else f" ({folder} holds no template)"
        raise ValueError(f"no template prompts/{name}{hint}") from error


@dataclass(frozen=True, slots=True)
class _Loader:
    """Reads templates until all that are reached are there, and notes what is wrong with them."""

    templates: Templates
    problems: list[Problem]

    def load(self, name: str, named_at: Problem) -> None:
        """Read a file and what it refers to; `named_at` is the place that names it."""
        if name in self.templates.texts and not _is_inline(name):
            return
        try:
            if _is_inline(name):
                raise ValueError(f"{name} is not a file in prompts/")
            self.templates.texts[name] = _read(self.templates.spec.root / _FOLDER, name)
        except ValueError as error:
            self.problems.append(replace(named_at, message=str(error)))
            return
        self.follow(name)

    def follow(self, name: str) -> None:
        """Compile a template that is there, and load what it refers to."""
        environment = sandbox({}, StrictUndefined)
        text = self.templates.texts[name]
        try:
            reached = list(references(environment.parse(text)))
            environment.compile(text)
        except TemplateSyntaxError as error:
            self.problems.append(self.templates.problem(name, error.lineno, error.message or "not a template"))
            return
        except SyntaxError as error:
            # Jinja wrote Python that is none: an argument stands twice, or blocks are nested too deep.
            self.problems.append(self.templates.problem(name, _line(environment, text, error), error.msg))
            return
        except DATA_ERRORS as error:
            self.problems.append(self.templates.problem(name, 1, str(error)))
            return
        for used, line in reached:
            self.load(used, self.templates.problem(name, line, ""))


def load_templates(spec: Spec) -> Templates:
    """Read every template that the spec reaches, through includes and imports too.

    Raises InputError with all that is missing, outside prompts/ or not valid Jinja.
    """
    loader = _Loader(Templates(spec, {}), [])
    for at, text in spec.prompt.texts():
        if is_file(text):
            loader.load(text, spec.problem(at, ""))
        else:
            loader.templates.texts[_name(at, text)] = text
            loader.follow(_name(at, text))
    if loader.problems:
        raise InputError(loader.problems)
    return loader.templates
