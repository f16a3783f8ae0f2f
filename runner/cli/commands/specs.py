"""Commands that take a spec and send nothing: validate, render and plan."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.common import (
    JSON_OPTION,
    SELECT_OPTION,
    SPEC_PATH,
    SPEC_PATHS,
    VAR_OPTION,
    VERBOSE_OPTION,
    echo_json,
    show_finding,
)
from runner.cli.echo import echo, echo_text, text_width
from runner.cli.env_files import reads_env_files
from runner.cli.jobs_option import JOBS_OPTION, choose_jobs
from runner.cli.log import LOG
from runner.cli.signals import handle_stop_signals
from runner.cli.state_options import opens_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.lifecycle.plan.plan import Plan
    from runner.lifecycle.validate.checks import FileReport
    from runner.rules.finding import Finding
    from runner.spec.spec import Spec


@click.command()
@click.argument("specs", nargs=-1, required=True, type=SPEC_PATHS)
@click.option(
    "--online",
    is_flag=True,
    help="Also prove the sinks writable, and ask the API, for free, about key, model and requests.",
)
@SELECT_OPTION
@VAR_OPTION
@JSON_OPTION
@opens_state
def validate(
    specs: tuple[str, ...], *, online: bool, select: tuple[str, ...], variables: dict[str, str], as_json: bool
) -> None:
    """Check specs without sending anything.

    Checks the settings, templates, schemas, sinks and first rows, and reports all problems at once. The rows are
    read wherever they are: in files, buckets or databases. A folder means the specs in it.
    """
    from runner.lifecycle.validate.checks import validate_files
    from runner.rules.finding import Finding

    reports, printed = validate_files(specs, vars=variables, select=select, is_online=online), set[Finding]()
    for report in reports:
        # Variants of one file have most findings in common.
        _print_findings(report, [one for one in report.findings if one not in printed], as_json=as_json)
        printed.update(report.findings)
    # Only now: without a key, or if the API cannot be reached, this ends the command.
    for report in reports if online else ():
        _ask_api(report, as_json=as_json)
    wrong = {report.path for report in reports if report.errors}
    for path in dict.fromkeys(report.path for report in reports if not as_json):
        if path not in wrong:
            echo_text(f"{path}: valid")
    sys.exit(2 if any(report.errors for report in reports) else 0)


def _ask_api(report: "FileReport", *, as_json: bool) -> None:
    """Add what the API finds wrong with a spec to its report, and print it."""
    from runner.lifecycle.plan.preview import check_with_api

    if report.spec is not None:
        found = check_with_api(report.spec, report.samples)
        _print_findings(report, found, as_json=as_json)
        report.findings.extend(found)


def _print_findings(report: "FileReport", findings: "Sequence[Finding]", *, as_json: bool) -> None:
    from runner.cli.texts.excerpt import format_problem
    from runner.cli.texts.findings import finding_to_json
    from runner.spec.spec_files import find_project_root

    roots, width = [find_project_root(report.path)], text_width(err=True)
    for finding in findings:
        if as_json:
            echo_json(finding_to_json(finding, roots))
        else:
            echo_text(format_problem(finding.shown, roots, width=width), err=True)


@click.command()
@click.argument("spec", type=SPEC_PATH)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@VAR_OPTION
@reads_env_files
def render(spec: Path, limit: int | None, variables: dict[str, str]) -> None:
    """Print the requests of a spec as JSON lines.

    Sends nothing.
    """
    from runner.lifecycle.plan.preview import render_requests
    from runner.lifecycle.validate.checks import load_spec_or_report
    from runner.rules.run import run_rules

    loaded = load_spec_or_report(spec, vars=variables)
    for line in render_requests(loaded, limit=limit):
        echo(line)
    for finding in run_rules(loaded):
        # The schema that was printed is not the one of the spec.
        if finding.rule == "open-schema":
            echo_text(str(finding), err=True)


@click.command()
@click.argument("specs", nargs=-1, required=True, type=SPEC_PATHS)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option("--offline", is_flag=True, help="Estimate tokens without the API, whose count is free.")
@click.option("--simulate", is_flag=True, help="Plan a simulated run; the simulator counts tokens.")
@JOBS_OPTION
@VERBOSE_OPTION
@SELECT_OPTION
@VAR_OPTION
@JSON_OPTION
@opens_state
def plan(
    specs: tuple[str, ...], *, limit: int | None, offline: bool, simulate: bool, variables: dict[str, str],
    select: tuple[str, ...], as_json: bool, verbose: bool, jobs: int | str | None,
) -> None:  # fmt: skip
    """Show what new runs would send and cost.

    Sends nothing. A folder means the specs in it. A spec that reads the outputs of another one has no plan yet.
    The cost is `at most` that of a token for each byte of a request, and of max_tokens for each answer; a row that
    is sent again costs again.
    """
    from runner.cli.texts.plan import format_plan
    from runner.cli.texts.plan_table import PlanRow, format_plans
    from runner.lifecycle.validate.checks import load_spec_or_report
    from runner.runs.choose_specs import choose_specs, find_upstream

    chosen = choose_specs(specs, vars=variables, select=select, simulate=simulate, load=load_spec_or_report)
    if not chosen:
        LOG.say("no spec is selected: nothing to plan", event="unchanged")
        return
    upstream = [find_upstream(spec, chosen) for spec in chosen]
    first = [spec for spec, before in zip(chosen, upstream, strict=True) if before is None]
    how = {"simulate": simulate, "offline": offline, "limit": limit, "jobs": choose_jobs(jobs, chosen[0].root)}
    plans = _make_plans(first, **how)
    rows, show = [PlanRow(made.spec, made) for made in plans], partial(show_finding, err=False)
    for spec, before in zip(chosen, upstream, strict=True):
        if before is not None:
            rows.append(PlanRow(spec.name, None, f"planned after {before.name}, whose outputs it reads"))
    if as_json:
        for made in plans:
            echo_json(made)
    elif len(plans) == len(rows) == 1:
        echo_text(format_plan(plans[0], verbose=verbose, show=show))
    else:
        echo_text(format_plans(rows, show=show))
    sys.exit(2 if any(finding.severity == "error" for made in plans for finding in made.findings) else 0)


def _make_plans(specs: "Sequence[Spec]", **how: Any) -> "list[Plan]":
    """Plan specs; `how` has the other arguments of `plan`. Raises InputError with the mistakes of all of them."""
    from runner.cli.progress import show_progress
    from runner.errors import InputError, Problem
    from runner.lifecycle.plan.preview import plan as plan_spec

    plans: list[Plan] = []
    problems: list[Problem] = []
    how["planned"] = [spec.name for spec in specs]
    with handle_stop_signals() as stop, show_progress() as progress:
        for spec in specs:
            try:
                plans.append(plan_spec(spec, report=progress.report, stop=stop, **how))
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)
    return plans
