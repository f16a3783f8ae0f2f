"""Plan a run without sending anything or touching its state."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from runner.api.client import Api
from runner.api.connect import may_have_credentials
from runner.api.errors import is_verdict_on_request
from runner.errors import AccessError, InputError, NotFound, Problem, StateError
from runner.lifecycle.plan.count import check_online
from runner.lifecycle.plan.plan import Plan, build_plan
from runner.lifecycle.prepare.cached_prefix import find_cached_prefix
from runner.lifecycle.prepare.prepare import prepare_first_round
from runner.lifecycle.prepare.render import encode_requests
from runner.lifecycle.validate.checks import validate_spec
from runner.rules.finding import Finding
from runner.runs.context import RunContext
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.pilot_gate import describe_pilot, is_pilot_due
from runner.runs.project import find_accounts, find_output_root, find_state, open_accounts, with_simulated_paths
from runner.runs.shared_cap import measure_spent
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Spec
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.store import Store
from runner.workers.tasks import Jobs


def render_requests(spec: Spec, *, limit: int | None = None) -> Iterator[bytes]:
    """Yield the requests of the first rows as JSON lines; nothing is sent.

    The custom_id is the row number. Raises InputError for a row that cannot be sent.
    """
    templates = validate_spec(spec).templates
    prefix = find_cached_prefix(templates)
    for row, request in encode_requests(templates, read_rows(spec.source, Inputs(spec.root), limit=limit)):
        if request.problem is not None:
            message = f"row {row.number} cannot be sent: {request.problem}"
            raise InputError([Problem(row.path, message, row.line)])
        yield b'{"custom_id":"%d","params":%b}' % (row.number, prefix.add_mark(request.params).sent)


def plan(
    spec: Spec,
    *,
    simulate: bool = False,
    offline: bool = False,
    limit: int | None = None,
    jobs: Jobs = 1,
    planned: Collection[str] = (),
    report: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> Plan:
    """Plan a new run of a spec: everything that `run` computes before it asks for confirmation.

    The API counts the input tokens, for free, if there are credentials and `offline` is False. With `simulate`,
    the simulator counts them. `planned` are the names of the specs that are planned with it. Errors found by the
    rules are among the findings. Raises InputError for all other errors in the input.
    """
    spec = with_simulated_paths(spec) if simulate else spec
    checked = validate_spec(spec, allow_rule_errors=True)
    base = find_output_root(spec, simulate=simulate)
    try:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="runner-plan-")))
            store = stack.enter_context(open_store(scratch))
            previous_store = stack.enter_context(_open_previous_store(find_state(base), store))
            prepare_run = partial(
                prepare_first_round, spec, checked.templates, store, previous_store=previous_store
            )
            prepared = prepare_run(limit=limit, jobs=jobs, stop=stop or Event(), report=report)
            api = None if offline else _open_counting_client(stack, spec, scratch, simulate=simulate)
            context = RunContext(spec, store, prepared.run, base, report)
            is_due = is_pilot_due(spec, checked.templates, previous_store, limit=limit)
            spent = measure_spent(previous_store, spec, prepared.run, planned=planned, is_pilot_due=is_due)
            made = build_plan(context, checked.templates, prepared, api, previous_store, spent)
            pilot = describe_pilot(spec, checked.templates, previous_store, rows=made.rows, limit=limit)
            return replace(made, pilot=pilot)
    except OSError as error:
        raise StateError(f"{error.filename or 'the temporary directory'}: {error.strerror}") from error


def check_with_api(spec: Spec, samples: Sequence[tuple[int, bytes]]) -> list[Finding]:
    """Ask the API if it has the model, and if it accepts one request of each shape. It counts tokens, for free.

    `samples` are the row number and params of each. Raises AccessError without usable credentials, and
    Unavailable if the API does not answer.
    """
    with open_accounts(spec.root / ".runner", spec.api, simulate=False, betas=spec.betas) as accounts:
        api = accounts.find_reader()
        try:
            if spec.is_sound("params.model"):
                api.check_model(str(spec.params["model"]))
        except NotFound as error:
            # A gateway may have no list of models.
            if is_verdict_on_request(error):
                place = spec.problem("params.model", f"the API does not have this model: {error}")
                return [Finding("rejected-by-api", "error", place.path, place.line, place.column, place.message)]
        return check_online(spec, samples, api) if samples else []


@contextmanager
def _open_previous_store(place: StatePlace, default: Store) -> Iterator[Store]:
    """Open the state of the project without its lock; yield `default` if it does not exist."""
    if not place.exists:
        yield default
        return
    with open_store(place, lock=False) as store:
        yield store


def _open_counting_client(stack: ExitStack, spec: Spec, scratch: Path, *, simulate: bool) -> Api | None:
    """Return a client that counts tokens, or None if there are no credentials."""
    folder = scratch if simulate else spec.root / ".runner"
    if simulate or may_have_credentials(spec.api) or find_accounts(spec.root, spec.api):
        with suppress(AccessError):
            opened = open_accounts(folder, spec.api, simulate=simulate, betas=spec.betas)
            return stack.enter_context(opened).find_reader()
    return None
