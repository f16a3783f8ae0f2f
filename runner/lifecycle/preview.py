"""Plan a run without sending anything or touching its state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from runner.api import Api, may_have_credentials
from runner.errors import AccessError, StateError
from runner.lifecycle.check import validate_spec
from runner.lifecycle.execute import find_output_root, open_client, with_simulated_paths
from runner.lifecycle.job import ProgressCallback, RunContext, ignore_progress
from runner.lifecycle.planning import Plan, build_plan
from runner.lifecycle.prepare import prepare_first_round
from runner.spec.spec import Spec
from runner.store.state import Store, open_store


def plan(
    spec: Spec,
    *,
    simulate: bool = False,
    offline: bool = False,
    limit: int | None = None,
    report: ProgressCallback = ignore_progress,
    stop: Event | None = None,
) -> Plan:
    """Plan a new run of a spec: everything that `run` computes before it asks for confirmation.

    The API counts the input tokens, for free, if there are credentials and `offline` is False. With `simulate`,
    the simulator counts them. Errors found by the rules are among the findings. Raises InputError for all other
    errors in the input.
    """
    spec = with_simulated_paths(spec) if simulate else spec
    checked = validate_spec(spec, allow_rule_errors=True)
    base = find_output_root(spec, simulate=simulate)
    try:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="runner-plan-")))
            store = stack.enter_context(open_store(scratch))
            previous_store = stack.enter_context(_open_previous_store(base / ".runner", store))
            prepare_run = partial(
                prepare_first_round, spec, checked.templates, store, previous_store=previous_store
            )
            prepared = prepare_run(limit=limit, stop=stop or Event(), report=report)
            api = None if offline else _open_counting_client(stack, spec, scratch, simulate=simulate)
            context = RunContext(spec, store, prepared.run, base)
            return build_plan(context, checked.templates, prepared, api, previous_store)
    except OSError as error:
        raise StateError(f"{error.filename or 'the temporary directory'}: {error.strerror}") from error


@contextmanager
def _open_previous_store(folder: Path, default: Store) -> Iterator[Store]:
    """Open the state of the project without its lock; yield `default` if it does not exist."""
    if not (folder / "state.db").exists():
        yield default
        return
    with open_store(folder, lock=False) as store:
        yield store


def _open_counting_client(stack: ExitStack, spec: Spec, folder: Path, *, simulate: bool) -> Api | None:
    """Return a client that counts tokens, or None if there are no credentials."""
    if simulate or may_have_credentials():
        with suppress(AccessError):
            return stack.enter_context(open_client(folder, simulate=simulate, betas=spec.betas))
    return None
