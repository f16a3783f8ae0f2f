"""Plan a run without sending anything or touching its state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from runner.api import Api, may_have_credentials
from runner.errors import AccessError, StateError
from runner.lifecycle.check import check
from runner.lifecycle.execute import connected, home, moved
from runner.lifecycle.job import Job, Report, silent
from runner.lifecycle.planning import Plan, make_plan
from runner.lifecycle.prepare import prepare
from runner.spec.spec import Spec
from runner.store.state import Store, open_store


def plan(
    spec: Spec,
    *,
    simulate: bool = False,
    offline: bool = False,
    limit: int | None = None,
    report: Report = silent,
    stop: Event | None = None,
) -> Plan:
    """Plan a new run of a spec: everything that `run` computes before it asks for confirmation.

    The API counts the input tokens, for free, if there are credentials and `offline` is False. With `simulate`,
    the simulator counts them. Errors found by the rules are among the findings. Raises InputError for all other
    errors in the input.
    """
    spec = moved(spec) if simulate else spec
    checked = check(spec, is_tolerant=True)
    base = home(spec, simulate=simulate)
    try:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="runner-plan-")))
            store = stack.enter_context(open_store(scratch))
            earlier = stack.enter_context(_earlier(base / ".runner", store))
            prepare_run = partial(prepare, spec, checked.templates, store, earlier=earlier)
            prepared = prepare_run(limit=limit, stop=stop or Event(), report=report)
            api = None if offline else _api(stack, spec, scratch, simulate=simulate)
            job = Job(spec, store, prepared.run, base)
            return make_plan(job, checked.templates, prepared, api, earlier)
    except OSError as error:
        raise StateError(f"{error.filename or 'the temporary directory'}: {error.strerror}") from error


@contextmanager
def _earlier(folder: Path, otherwise: Store) -> Iterator[Store]:
    """Open the state of the project without its lock; yield `otherwise` if it does not exist."""
    if not (folder / "state.db").exists():
        yield otherwise
        return
    with open_store(folder, lock=False) as store:
        yield store


def _api(stack: ExitStack, spec: Spec, folder: Path, *, simulate: bool) -> Api | None:
    """Return a client that counts tokens, or None if there are no credentials."""
    if simulate or may_have_credentials():
        with suppress(AccessError):
            return stack.enter_context(connected(folder, simulate=simulate, betas=spec.betas))
    return None
