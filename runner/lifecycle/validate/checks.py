"""Validate a spec against everything except the full input."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from runner.errors import InputError, Problem
from runner.files.extras import missing_package_message
from runner.files.remote import is_url
from runner.lifecycle.prepare.render import encode_requests, find_shape, rejected_finding
from runner.results.output_format import build_output_format
from runner.rules.finding import Finding
from runner.rules.run import run_rules
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.sinks.check import check_destination, check_sinks
from runner.sinks.destination import Destination, resolve_destination
from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.sources.registry import find_source_type
from runner.spec.spec import Spec
from runner.templates.known_fields import make_closed_schema
from runner.templates.templates import Templates, load_templates

T = TypeVar("T")


_SAMPLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class ValidatedSpec:
    """Result of a successful check: the templates of the spec, and the findings about it.

    `samples` are the row number and params of one request of each shape.
    """

    templates: Templates
    findings: list[Finding]
    samples: list[tuple[int, bytes]]


def validate_spec(spec: Spec, *, allow_rule_errors: bool = False) -> ValidatedSpec:
    """Check everything that can be known before the whole source is read.

    This covers the templates, the names they use, the columns and the first 100 rows. Raises InputError that lists
    all problems, including the errors found by the rules unless `allow_rule_errors`.
    """
    unreadable: list[Problem] = []
    sample, types = _collect_problems(unreadable, lambda: _read_sample(spec)) or ([], {})
    row_schema = _describe_row(spec, sample, types)
    problems = check_sinks(spec, row_schema)
    if any(block.type != "text" for block in spec.prompt.blocks()) and (
        missing := missing_package_message("documents")
    ):
        problems.append(spec.problem("prompt", f"documents and images: {missing}"))
    _collect_problems(problems, lambda: build_output_format(spec.output, row_schema))
    templates = _collect_problems(problems, lambda: load_templates(spec))
    problems += unreadable
    if templates is not None and sample:
        problems += templates.check_variables(list(dict.fromkeys(name for row in sample for name in row.fields)))
    findings = run_rules(spec, keys=[row.key for row in sample] if spec.source.key is not None else ())
    errors = [finding.problem for finding in findings if finding.severity == "error"]
    if templates is None or problems or (errors and not allow_rule_errors):
        raise InputError([*(locate_problem(spec, problem) for problem in problems), *errors])
    samples: dict[tuple[bytes, ...], tuple[int, bytes]] = {}
    for row, (params, _, problem) in encode_requests(templates, iter(sample)):
        if problem is not None:
            findings.append(rejected_finding(row, problem))
        else:
            samples.setdefault(find_shape(params), (row.number, params))
    return ValidatedSpec(templates, findings, list(samples.values()))


def check_destinations(spec: Spec, output_root: Path, *, query_databases: bool = True) -> list[Destination]:
    """Return the places of a spec's sinks below `output_root`.

    Raises InputError for places that cannot be written, as far as this can be known without writing. Databases are
    only checked with `query_databases`.
    """
    places = [resolve_destination(sink, root=spec.root, base=output_root) for sink in spec.sinks]
    asked = [index for index, sink in enumerate(spec.sinks) if query_databases or sink.type != "sql"]
    if problems := [one for index in asked if (one := check_destination(spec, index, places[index]))]:
        raise InputError(problems)
    return places


def check_tables(context: RunContext, destinations: Sequence[Destination]) -> None:
    """Discard a prepared run and raise InputError if a table does not accept its column types."""
    types = read_snapshot(context.store, context.run).types
    tables = [index for index, sink in enumerate(context.spec.sinks) if sink.type == "sql"]
    unfit = [check_destination(context.spec, index, destinations[index], types) for index in tables]
    if problems := [problem for problem in unfit if problem]:
        context.store.delete_run(context.run)
        raise InputError(problems)


def _collect_problems(problems: list[Problem], step: Callable[[], T]) -> T | None:
    """Return the result of a step; if it raises InputError, note its problems and return None."""
    try:
        return step()
    except InputError as error:
        problems += error.problems
        return None


def locate_problem(spec: Spec, problem: Problem) -> Problem:
    """Return a problem that only names its setting with the location of that setting."""
    if problem.path not in spec.positions:
        return problem
    return spec.problem(problem.path, f"{problem.path}: {problem.message}", line=problem.line or 1)


def _describe_row(spec: Spec, sample: list[Row], types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the source's rows as far as it is known.

    Rows of a schemaless source can have fields that the first ones do not have, unless the spec selects columns.
    """
    if find_source_type(spec.source.type).is_schemaless:
        names: Collection[str] = spec.source.columns
    else:
        names = sample[0].fields if sample else ()
    return make_closed_schema({name: types.get(name, {}) for name in names}) if names else {}


def _read_sample(spec: Spec) -> tuple[list[Row], Mapping[str, Any]]:
    """Return the first rows of the source, as far as they can be read now, and the known types of its columns."""
    inputs, pattern = Inputs(spec.root), spec.source.path
    if spec.source.output is not None and not (spec.root / pattern).exists():
        return [], {}  # the spec that writes it has not run yet
    if spec.source.is_query or is_url(pattern):
        return list(read_rows(spec.source, inputs, limit=_SAMPLE_ROWS)), inputs.types
    paths = [spec.root / path for path in inputs.find_files(pattern)]
    # Standard input and pipes can be read only once: leave them to the run.
    if pattern == "-" or any(path.is_fifo() or path.is_char_device() for path in paths):
        return [], {}
    return list(read_rows(spec.source, inputs, limit=_SAMPLE_ROWS)), inputs.types
