"""Validate a spec against everything except the full input."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from runner.errors import InputError, Problem
from runner.extras import lacking
from runner.form import form_of
from runner.lifecycle.prepare import rejection, requests
from runner.prompt.templates import Templates, load_templates
from runner.remote import is_url
from runner.rules import examine
from runner.rules.case import Finding
from runner.sinks import check as check_sinks
from runner.sinks import check_place
from runner.sinks.place import Place, place
from runner.sources import Row, read
from runner.sources.inputs import Inputs
from runner.spec.spec import Spec

T = TypeVar("T")
_SAMPLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of a successful check: the templates of the spec, and the findings about it."""

    templates: Templates
    findings: list[Finding]


def check(spec: Spec, *, is_tolerant: bool = False) -> Checked:
    """Check everything that can be known before the whole source is read.

    This covers the templates, the names they use, the columns and the first 100 rows. Raises InputError that lists
    all problems, including the errors found by the rules unless `is_tolerant`.
    """
    problems = check_sinks(spec)
    if any(block.type != "text" for block in spec.prompt.blocks()) and (lacks := lacking("documents")):
        problems.append(spec.problem("prompt", f"documents and images: {lacks}"))
    _note(problems, lambda: form_of(spec.output))
    templates = _note(problems, lambda: load_templates(spec))
    sample = _note(problems, lambda: _sample(spec))
    if templates is not None and sample:
        problems += templates.check(list(dict.fromkeys(name for row in sample for name in row.fields)))
    findings = examine(spec, keys=[row.key for row in sample or ()] if spec.source.key is not None else ())
    errors = [finding.problem for finding in findings if finding.severity == "error"]
    if templates is None or problems or (errors and not is_tolerant):
        raise InputError([*(_placed(spec, problem) for problem in problems), *errors])
    for row, (_, _, problem) in requests(templates, iter(sample or ())):
        if problem is not None:
            findings.append(rejection(row, problem))
    return Checked(templates, findings)


def check_places(spec: Spec, base: Path, *, asks_databases: bool = True) -> list[Place]:
    """Return the places of a spec's sinks below `base`.

    Raises InputError for places that cannot be written, as far as this can be known without writing. Databases are
    only checked with `asks_databases`.
    """
    places = [place(sink, root=spec.root, base=base) for sink in spec.sinks]
    asked = [index for index, sink in enumerate(spec.sinks) if asks_databases or sink.type != "sql"]
    if problems := [one for index in asked if (one := check_place(spec, index, places[index]))]:
        raise InputError(problems)
    return places


def _note(problems: list[Problem], step: Callable[[], T]) -> T | None:
    """Return the result of a step; if it raises InputError, note its problems and return None."""
    try:
        return step()
    except InputError as error:
        problems += error.problems
        return None


def _placed(spec: Spec, problem: Problem) -> Problem:
    """Return a problem that only names its setting with the location of that setting."""
    if problem.path not in spec.places:
        return problem
    return spec.problem(problem.path, f"{problem.path}: {problem.message}")


def _sample(spec: Spec) -> list[Row]:
    inputs, pattern = Inputs(spec.root), spec.source.path
    if spec.source.output is not None and not (spec.root / pattern).exists():
        return []  # the spec that writes it has not run yet
    if spec.source.is_query or is_url(pattern):
        return list(read(spec.source, inputs, limit=_SAMPLE_ROWS))
    paths = [spec.root / path for path in inputs.find(pattern)]
    # Standard input and pipes can be read only once: leave them to the run.
    if pattern == "-" or any(path.is_fifo() or path.is_char_device() for path in paths):
        return []
    return list(read(spec.source, inputs, limit=_SAMPLE_ROWS))


def render(spec: Spec, *, limit: int | None = None) -> Iterator[bytes]:
    """Yield the requests of the first rows as JSON lines; nothing is sent.

    The custom_id is the row number. Raises InputError for a row that cannot be sent.
    """
    templates = check(spec).templates
    for row, (params, _, problem) in requests(templates, read(spec.source, Inputs(spec.root), limit=limit)):
        if problem is not None:
            raise InputError([Problem(row.path, f"row {row.number} cannot be sent: {problem}", row.line)])
        yield b'{"custom_id":"%d","params":%b}' % (row.number, params)
