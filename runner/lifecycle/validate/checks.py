"""Validate a spec against everything except the full input, and report all mistakes in one round."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import InputError, Problem
from runner.evaluation.check import check_evaluations
from runner.files.nearest import find_nearest_file
from runner.lifecycle.prepare.render import encode_requests, find_shape, rejected_finding
from runner.lifecycle.validate.destinations import find_invalid, find_places, find_unwritable
from runner.lifecycle.validate.facts import estimate_facts
from runner.lifecycle.validate.missing import (
    find_missing_access,
    find_missing_commands,
    find_missing_extra,
    find_missing_pilot_column,
)
from runner.lifecycle.validate.sample import Sample, read_sample
from runner.lifecycle.validate.sink_rows import find_unwritable_rows
from runner.results.output_format import build_output_format
from runner.rules.finding import Finding, PlanFacts
from runner.rules.run import is_allowed, run_rules
from runner.runs.choose_specs import check_unique_names, select_specs
from runner.sinks.check import check_sinks
from runner.sinks.column_schemas import build_record_schemas
from runner.sources.formats.csv import suggest_delimiter
from runner.sources.registry import find_source_type
from runner.spec.load import read_spec
from runner.spec.spec import Spec
from runner.spec.spec_files import find_spec_files
from runner.templates.known_fields import make_closed_schema
from runner.templates.load import read_templates
from runner.templates.templates import Templates

_MAX_REJECTED = 5

_MISSING_FILE = re.compile(r"(.+) cannot be read: No such file or directory$")

if TYPE_CHECKING:
    from runner.requests.encode import EncodedRequest


@dataclass(frozen=True, slots=True)
class ValidatedSpec:
    """Result of a successful check: the templates of the spec, and the findings about it.

    `samples` are the row number and params of one request of each shape.
    """

    templates: Templates
    findings: list[Finding]
    samples: list[tuple[int, bytes]]


@dataclass
class _Checks:
    """The checks of one spec: each adds its findings, and leaves out what depends on a broken part."""

    spec: Spec
    is_thorough: bool
    is_sent: bool
    findings: list[Finding] = field(default_factory=list)
    samples: dict[tuple[bytes, ...], tuple[int, bytes]] = field(default_factory=dict)
    types: Mapping[str, Any] = field(default_factory=dict)
    rejected_rows: set[int] = field(default_factory=set)

    def note(self, check: str, problems: Iterable[Problem]) -> None:
        """Note problems as errors of a check; those of broken parts are already known."""
        for problem in problems:
            if self.spec.is_sound(problem.path):
                self.findings.append(Finding.from_problem(check, self.spec.locate(problem)))

    def note_error(self, check: str, step: Callable[[], object]) -> None:
        """Note the problems with which a step ends, if it does."""
        try:
            step()
        except InputError as error:
            self.note(check, error.problems)

    def run(self) -> Templates | None:
        """Run all checks, and return the templates if they can be used."""
        spec = self.spec
        sample = read_sample(spec, is_thorough=self.is_thorough) if spec.is_sound("source") else Sample()
        row_schema, self.types = _describe_row(spec, sample), sample.types
        self.note("extra", find_missing_extra(spec))
        self.note("spec", find_missing_commands(spec))
        if self.is_sent:
            self.note("api", find_missing_access(spec))
        templates, problems = read_templates(spec, sample.columns)
        if sample.rows and spec.is_sound("vars"):
            problems += templates.check_variables(sample.columns)
        if (problems or sample.problems) and (causes := list(_find_other_delimiter(spec, sample.columns))):
            # All else that would be found about columns follows from it.
            self.note("source", causes)
            return None
        self.note("sink", check_sinks(spec, row_schema))
        self.note("evaluate", check_evaluations(spec, build_record_schemas(spec, row_schema)))
        self.note("source", find_missing_pilot_column(spec, sample))
        self.note_error("output", lambda: build_output_format(spec.output, row_schema))
        self.note("template", problems)
        self.note("source", sample.problems)
        can_render = not problems and spec.is_sound("prompt") and spec.is_sound("vars")
        facts = self._render(templates, sample) if can_render else None
        if self.is_thorough and not any(one.rule == "sink" for one in self.findings):
            self.findings += find_unwritable_rows(spec, sample, self.rejected_rows)
        keys = [row.key for row in sample.rows] if spec.source.key is not None else ()
        self.findings += run_rules(spec, facts if self.is_thorough else None, keys=keys)
        return None if problems else templates

    def _render(self, templates: Templates, sample: Sample) -> PlanFacts | None:
        """Render the requests of the first rows, and return the facts that follow from them."""
        requests, rejected = list["EncodedRequest"](), list[Finding]()
        try:
            for row, encoded in encode_requests(templates, iter(sample.rows)):
                requests.append(encoded)
                if encoded.problem is not None:
                    self.rejected_rows.add(row.number)
                    rejected.append(rejected_finding(row, _add_nearest_file(self.spec, encoded.problem)))
                else:
                    params = encoded.params.sent
                    self.samples.setdefault(find_shape(params), (row.number, params))
        except InputError as error:
            self.note("template", error.problems)
        rejected = [one for one in rejected if not is_allowed(self.spec, one)]
        self.findings += rejected[:_MAX_REJECTED]
        if len(rejected) > _MAX_REJECTED:
            last, more = self.findings[-1], f" (and {len(rejected) - _MAX_REJECTED} more of the first rows)"
            self.findings[-1] = replace(last, message=f"{last.message}{more}")
        return estimate_facts(self.spec, sample, templates, requests)


def validate_spec(spec: Spec, *, allow_rule_errors: bool = False, is_sent: bool = False) -> ValidatedSpec:
    """Check everything that can be known before the whole source is read.

    This covers the templates, the names they use, the columns and the first 100 rows; if it `is_sent`, also what
    leads to its platform. Raises InputError that lists all problems, including the errors found by the rules
    unless `allow_rule_errors`.
    """
    checks = _Checks(spec, is_thorough=False, is_sent=is_sent)
    templates = checks.run()
    errors = [one for one in checks.findings if one.severity == "error"]
    fatal = errors if not allow_rule_errors else [one for one in errors if one.is_problem]
    if templates is None or fatal:
        raise InputError([finding.problem for finding in errors])
    return ValidatedSpec(templates, checks.findings, list(checks.samples.values()))


@dataclass(frozen=True, slots=True)
class FileReport:
    """All that is wrong with a spec file; `spec` is None if it cannot be read.

    `samples` are those of `ValidatedSpec`.
    """

    path: Path
    spec: Spec | None
    findings: list[Finding]
    samples: list[tuple[int, bytes]]

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a run."""
        return [finding for finding in self.findings if finding.severity == "error"]


def validate_file(
    path: str | os.PathLike[str],
    *,
    vars: Mapping[str, str] | None = None,
    variant: str | None = None,
    is_online: bool = False,
) -> FileReport:
    """Check a spec file, or a variant of it, in one round: every check that can run does, whatever else is wrong.

    Nothing is sent. With `is_online`, the sinks are proved to be writable: their places may be unreachable where
    specs are validated.
    """
    spec, problems = read_spec(path, vars=vars, variant=variant)
    findings = [Finding.from_problem("spec", problem) for problem in problems]
    if spec is None:
        return FileReport(Path(path), None, findings, [])
    checks = _Checks(spec, is_thorough=True, is_sent=True)
    checks.run()
    places = find_places(spec, spec.root)
    checks.note("sink", find_unwritable(spec, places, checks.types) if is_online else find_invalid(spec, places))
    found = dict.fromkeys(chain(findings, checks.findings))
    ordered = sorted(found, key=lambda one: (one.path != str(spec.path), one.path, one.line, one.column))
    return FileReport(spec.path, spec, ordered, list(checks.samples.values()))


def validate_files(
    written: Sequence[str], *, vars: Mapping[str, str], select: Sequence[str] = (), is_online: bool = False
) -> list[FileReport]:
    """Check the specs that paths, folders and globs name, as far as they are selected; see `validate_file`.

    Each variant has a report of its own.
    """
    reports = [
        one for path in find_spec_files(written) for one in _validate_variants(path, vars, is_online=is_online)
    ]
    specs = [report.spec for report in reports if report.spec is not None]
    chosen = select_specs(specs, select)
    try:
        check_unique_names([spec for spec in specs if spec.is_sound("name")])
    except InputError as error:
        for report in reports:
            own = [one for one in error.problems if one.path == str(report.path)]
            report.findings.extend(Finding.from_problem("spec", problem) for problem in own)
    return [report for report in reports if report.spec is None or report.spec in chosen]


def _validate_variants(
    path: str | os.PathLike[str], vars: Mapping[str, str] | None, *, is_online: bool = False
) -> list[FileReport]:
    """Return a report of each variant of a spec; what only some of them have names these."""
    first = validate_file(path, vars=vars, is_online=is_online)
    others = first.spec.variants[1:] if first.spec is not None else ()
    reports = [first, *(validate_file(path, vars=vars, variant=one, is_online=is_online) for one in others)]
    counts = Counter(one for report in reports for one in report.findings)
    for report in reports:
        for index, one in enumerate(report.findings):
            if counts[one] < len(reports) and report.spec is not None:
                named = f"variant {report.spec.variant}: {one.message}"
                report.findings[index] = replace(one, message=named)
    return reports


def load_spec_or_report(
    path: str | os.PathLike[str], *, vars: Mapping[str, str] | None = None, variant: str | None = None
) -> Spec:
    """Return a spec whose file has no mistakes. Raises InputError with those, and all others that can be found."""
    spec, problems = read_spec(path, vars=vars, variant=variant)
    if spec is not None and not problems:
        return spec
    if spec is None or not spec.variants:
        raise InputError([finding.problem for finding in validate_file(path, vars=vars, variant=variant).errors])
    errors = dict.fromkeys(one for report in _validate_variants(path, vars) for one in report.errors)
    raise InputError([finding.problem for finding in errors])


def _add_nearest_file(spec: Spec, problem: str) -> str:
    """Return why a row cannot be sent, with the nearest name if a file that it attaches does not exist."""
    missing = _MISSING_FILE.match(problem)
    folders = {block.folder or "." for block in spec.prompt.blocks() if block.given == "path"}
    if missing is None or len(folders) != 1:
        return problem
    near = find_nearest_file(spec.root / folders.pop(), missing[1])
    return problem if near is None else f"{problem}: did you mean {near!r}?"


def _find_other_delimiter(spec: Spec, columns: Sequence[str]) -> Iterator[Problem]:
    """Yield the probable cause of other problems, if the only column of a CSV file is named like several."""
    if spec.source.type == "csv" and (setting := suggest_delimiter(columns)) is not None:
        message = f"there is only the column {columns[0]!r}: if these are several, set {setting} in the source"
        yield Problem("source.path", message, remedy=f"set {setting} in the source")


def _describe_row(spec: Spec, sample: Sample) -> dict[str, Any]:
    """Return the schema of the source's rows as far as it is known.

    Rows of a schemaless source can have fields that the first ones do not have, unless the spec selects columns.
    """
    if find_source_type(spec.source.type).is_schemaless:
        names: Collection[str] = spec.source.columns
    else:
        names = sample.rows[0].fields if sample.rows else ()
    return make_closed_schema({name: sample.types.get(name, {}) for name in names}) if names else {}
