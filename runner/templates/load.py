"""Load the templates of a spec from prompts/, with all those that they refer to, and find their mistakes."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from jinja2 import StrictUndefined, TemplateSyntaxError

from runner.errors import InputError, Problem
from runner.files.regular import read_regular_file
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Spec
from runner.templates.sandbox import RENDER_ERRORS, Sandbox, make_sandbox
from runner.templates.suggestions import suggest_column_tag
from runner.templates.templates import FOLDER, Templates, is_inline, is_template_file, template_name
from runner.templates.variables import find_referenced_templates


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
        if name in self.templates.texts and not is_inline(name):
            return
        try:
            if is_inline(name):
                raise ValueError(f"{name} is not a file in prompts/")
            self.templates.texts[name] = _read_template(self.templates.spec.root / FOLDER, name)
        except ValueError as error:
            self.problems.append(replace(referenced_from, message=str(error)))
        except FileNotFoundError as error:
            self._report_missing(name, replace(referenced_from, message=str(error)))
        else:
            self.load_references(name)

    def _report_missing(self, name: str, problem: Problem) -> None:
        """Note a missing template, and go on with the one that has the nearest name, if there is one."""
        folder = self.templates.spec.root / FOLDER
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
            loader.templates.texts[template_name(at, text)] = text
            loader.load_references(template_name(at, text))
    return loader.templates, list(dict.fromkeys(loader.problems))


def load_templates(spec: Spec) -> Templates:
    """Read every template that the spec uses. Raises InputError with every problem of `read_templates`."""
    templates, problems = read_templates(spec)
    if problems:
        raise InputError(problems)
    return templates
