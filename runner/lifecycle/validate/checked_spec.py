"""Check a spec and the places of its outputs before the state is opened."""

from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputError
from runner.lifecycle.validate.checks import validate_spec
from runner.lifecycle.validate.destinations import check_destinations
from runner.runs.project import make_output_root, simulated_spec
from runner.sinks.destination import Destination
from runner.spec.spec import Spec
from runner.templates.templates import Templates


@dataclass(frozen=True, slots=True)
class CheckedSpec:
    """A spec that was checked without opening the state: its templates, and the places of its outputs.

    `templates` is None if an unfinished run is resumed anyway: it has its own, in its snapshot. `error` holds the
    mistakes of a spec, or of its source, that are reported once its unfinished run is finished.
    """

    spec: Spec
    output_root: Path
    templates: Templates | None
    destinations: list[Destination]
    error: InputError | None = None


def check_spec(spec: Spec, *, simulate: bool, resume: bool, finish_pending: bool = False) -> CheckedSpec:
    """Check all that is known before the state is opened. Raises InputError with every mistake.

    With `finish_pending` the mistakes wait until `prepare_run` knows if an unfinished run is to be finished first.
    """
    spec = simulated_spec(spec) if simulate else spec
    templates, waiting = None, None
    try:
        templates = None if resume else validate_spec(spec, is_sent=not simulate).templates
    except InputError as error:
        if not finish_pending:
            raise
        waiting = error
    root = make_output_root(spec, simulate=simulate)
    return CheckedSpec(spec, root, templates, check_destinations(spec, root), waiting)
