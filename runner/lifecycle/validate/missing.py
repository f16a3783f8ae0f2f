"""Find what a spec needs and this machine, or its source, does not have."""

import os
from collections.abc import Iterable, Iterator

from runner.api.platforms import find_missing
from runner.errors import Problem
from runner.files.extras import missing_package_message
from runner.lifecycle.validate.sample import Sample
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Spec


def find_missing_pilot_column(spec: Spec, sample: Sample) -> Iterator[Problem]:
    """Yield that a column by which a pilot is drawn does not exist."""
    by = None if spec.pilot is None else spec.pilot.by
    if by is not None and sample.rows and by not in (names := sample.rows[0].fields):
        yield spec.problem("pilot.by", f"pilot.by: no column {by!r}: {suggest_similar(by, names)}")


def find_missing_access(spec: Spec) -> Iterator[Problem]:
    """Yield what is missing to reach the platform of a spec."""
    if spec.is_sound("api"):
        yield from (spec.problem("api", f"api: {missing}") for missing in find_missing(spec.api))


def find_missing_extra(spec: Spec) -> Iterable[Problem]:
    """Yield the packages that a spec needs and that are not installed."""
    if any(block.type != "text" for block in spec.prompt.blocks()) and (
        missing := missing_package_message("documents")
    ):
        yield spec.problem("prompt", f"documents and images: {missing}")
    if any(one.apprise is not None for one in spec.notify) and (missing := missing_package_message("notify")):
        yield spec.problem("notify", f"apprise: {missing}")


def find_missing_commands(spec: Spec) -> Iterator[Problem]:
    """Yield that a receiver's program in the project cannot be started; one on PATH may be only where jobs run."""
    for index, one in enumerate(spec.notify):
        program = one.command[0] if one.command else ""
        if "/" not in program:
            continue
        at, path = f"notify.{index}.command.0", spec.root / program
        if not path.is_file():
            yield spec.problem(at, f"{at}: {program} does not exist in {spec.root}")
        elif not os.access(path, os.X_OK):
            yield spec.problem(
                at, f"{at}: {program} cannot be started: make it executable with `chmod +x {program}`"
            )
