"""Commands that take a spec and send nothing: validate, render and plan."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from runner.cli.common import (
    JSON_OPTION,
    SELECT_OPTION,
    SPEC_PATH,
    SPEC_PATHS,
    VAR_OPTION,
    VERBOSE_OPTION,
    echo_json,
)
from runner.cli.echo import echo, echo_text
from runner.cli.env_files import reads_env_files
from runner.cli.signals import handle_stop_signals
from runner.errors import InputError

if TYPE_CHECKING:
    from runner.spec.spec import Spec

T = TypeVar("T")


@click.command()
@click.argument("specs", nargs=-1, required=True, type=SPEC_PATHS)
@click.option(
    "--online", is_flag=True, help="Ask the API, for free, if it accepts the requests of the first rows."
)
@SELECT_OPTION
@VAR_OPTION
@reads_env_files
def validate(specs: tuple[str, ...], *, online: bool, select: tuple[str, ...], variables: dict[str, str]) -> None:
    """Check specs without sending anything.

    Checks the settings, templates, schemas, sinks and first rows, and reports all problems at once.
    A folder means the specs in it.
    """
    from runner.runs.choose_specs import check_unique_names, select_specs
    from runner.spec.load import load_spec
    from runner.spec.spec_files import find_spec_files

    problems: list[InputError] = []
    paths = find_spec_files(specs)
    loaded = [spec for path in paths if (spec := _collect(problems, partial(load_spec, path, vars=variables)))]
    _collect(problems, partial(check_unique_names, loaded))
    for spec in select_specs(loaded, select):
        problems_before = len(problems)
        _collect(problems, partial(_validate, spec, online=online))
        if len(problems) == problems_before:
            echo(f"{spec.path}: valid")
    sys.exit(2 if problems else 0)


def _collect(problems: list[InputError], step: Callable[[], T]) -> T | None:
    """Return the result of a step; if it raises InputError, print and note it, and return None."""
    try:
        return step()
    except InputError as error:
        problems.append(error)
        echo(str(error), err=True)
        return None


def _validate(spec: "Spec", *, online: bool) -> None:
    from runner.lifecycle.prepare.validate import check_destinations, validate_spec

    checked = validate_spec(spec)
    for finding in checked.findings:
        echo(str(finding), err=True)
    if online:
        from runner.lifecycle.plan.preview import check_with_api

        check_with_api(spec, checked.samples)
    # Databases may be unreachable where specs are validated (CI).
    check_destinations(spec, spec.root, query_databases=False)


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
    from runner.spec.load import load_spec

    for line in render_requests(load_spec(spec, vars=variables), limit=limit):
        echo(line)


@click.command()
@click.argument("spec", type=SPEC_PATH)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option("--offline", is_flag=True, help="Estimate tokens without the API, whose count is free.")
@click.option("--simulate", is_flag=True, help="Plan a simulated run; the simulator counts tokens.")
@VERBOSE_OPTION
@VAR_OPTION
@JSON_OPTION
@reads_env_files
def plan(
    spec: Path, *, limit: int | None, offline: bool, simulate: bool, variables: dict[str, str], as_json: bool,
    verbose: bool,
) -> None:  # fmt: skip
    """Show what a new run would send and cost.

    Sends nothing.
    """
    from runner.cli.progress import show_progress
    from runner.cli.texts.plan import format_plan
    from runner.lifecycle.plan.preview import plan as plan_spec
    from runner.spec.load import load_spec

    with handle_stop_signals() as stop, show_progress() as progress:
        made = plan_spec(
            load_spec(spec, vars=variables),
            simulate=simulate,
            offline=offline,
            limit=limit,
            report=progress.report,
            stop=stop,
        )
    if as_json:
        echo_json(made)
    else:
        echo_text(format_plan(made, verbose=verbose))
    sys.exit(2 if any(finding.severity == "error" for finding in made.findings) else 0)
