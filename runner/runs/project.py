"""The folders of a project, real and simulated, and the client for each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from runner.api.accounts import Accounts
from runner.api.client import Api
from runner.api.connect import connect
from runner.api.errors import AccountKey
from runner.errors import StateError, UsageError, describe_os_error
from runner.spec.endpoint import Endpoint
from runner.store.accounts import AccountSettings, read_accounts, read_keys
from runner.store.open_store import open_store
from runner.store.place import StatePlace, find_place
from runner.store.store import Store

if TYPE_CHECKING:
    from runner.spec.spec import Spec

SIMULATED_FOLDER = "simulated"
# A simulated batch takes about a second, and the simulator ends with the runner: no create can be late.
_SIMULATED_POLL, _SIMULATED_GRACE = 0.2, 2.0


def with_simulated_paths(spec: "Spec") -> "Spec":
    """Return the spec to simulate, which reads the simulated output of the spec before it, if any."""
    output = spec.source.output
    if output is None:
        return spec
    path = Path(output)
    below = Path(SIMULATED_FOLDER) / (path.relative_to(path.anchor))
    return replace(spec, source=replace(spec.source, output=str(below)))


def simulated_spec(spec: "Spec") -> "Spec":
    """Return the spec to run against the simulator: simulated paths, short pauses, no manual decisions."""
    grace_seconds = min(spec.batch.grace_seconds, _SIMULATED_GRACE)
    batch = replace(spec.batch, poll_seconds=_SIMULATED_POLL, grace_seconds=grace_seconds, on_unknown="resubmit")
    return replace(with_simulated_paths(spec), batch=batch)


def find_output_root(spec: "Spec", *, simulate: bool) -> Path:
    """Return the folder that contains `.runner/` and that output paths are relative to."""
    return spec.root / SIMULATED_FOLDER if simulate else spec.root


def is_simulated_state(folder: Path) -> bool:
    """Return whether a state folder is that of the simulator."""
    return folder.parent.name == SIMULATED_FOLDER


def find_state(output_root: Path) -> StatePlace:
    """Return where the state is whose outputs are below a folder; that of the simulator is always in it."""
    if output_root.name == SIMULATED_FOLDER:
        return StatePlace(output_root / ".runner")
    return find_place(output_root)


def describe_state(root: Path) -> str:
    """Return where the runs of a project are, for messages."""
    place = find_state(root)
    return str(place) if place.is_shared else str(root)


def find_state_root(folder: Path) -> Path:
    """Return the project folder of a state folder."""
    return folder.parent.parent if is_simulated_state(folder) else folder.parent


def make_output_root(spec: "Spec", *, simulate: bool) -> Path:
    """Return the folder of `find_output_root`; make it, ignored by git, if it is the one for simulations."""
    folder = find_output_root(spec, simulate=simulate)
    if simulate:
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
    return folder


@contextmanager
def _find_simulator(folder: Path, *, simulate: bool) -> Iterator[dict[str, Any]]:
    """Start a simulator that keeps its batches in the state folder, if one is wanted; yield how to reach it."""
    if not simulate:
        yield {}
        return
    # Imported here, so that `validate` does not wait for the import of an HTTP server.
    from runner.simulator.server import serve

    with serve(folder / "simulator") as url:
        yield {"base_url": url, "api_key": "simulated", "name": "simulator"}


@contextmanager
def open_accounts(
    folder: Path, endpoint: Endpoint, *, simulate: bool, betas: Sequence[str] = ()
) -> Iterator[Accounts]:
    """Open clients of a platform, or one of a simulator that keeps its batches in the state folder `folder`."""
    with _find_simulator(folder, simulate=simulate) as simulator, ExitStack() as stack:
        yield _connect(stack, find_state_root(folder), endpoint, simulator, betas)


def _connect(
    stack: ExitStack, root: Path, endpoint: Endpoint, simulator: Mapping[str, Any], betas: Sequence[str]
) -> Accounts:
    """Connect to each account of a project, or to a simulator if there is one, which has no platforms.

    The stack closes the clients. Raises AccessError for an account without a key, and UsageError for two with one.
    """

    def open_client(**how: Any) -> Api:
        return stack.enter_context(connect(endpoint, betas=betas, **how))

    if simulator:
        return Accounts({None: stack.enter_context(connect(**simulator, betas=betas))}, open_client)
    settings = find_accounts(root, endpoint)
    if settings is None:
        return Accounts({None: open_client()}, open_client)
    clients: dict[str | None, Api] = {
        name: open_client(api_key=key, account=AccountKey(name, settings.variables[name]))
        for name, key in read_keys(settings).items()
    }
    return Accounts(clients, open_client, settings.default)


def find_accounts(root: Path, endpoint: Endpoint) -> AccountSettings | None:
    """Return the accounts of a project that lead to a platform: their keys are those of Anthropic's own API."""
    return read_accounts(root) if endpoint.platform == "anthropic" else None


OpenAccounts = Callable[["Spec"], Accounts]
"""Opens the clients for a spec when they are first needed: a run that only writes its outputs again needs none."""


@dataclass(slots=True)
class OpenProjects:
    """The projects of one command: each state is locked, and each simulator started, when it is first needed."""

    stack: ExitStack
    stop: Event
    simulate: bool
    states: dict[Path, Store] = field(default_factory=dict)
    shared: dict[tuple[str, str], Path] = field(default_factory=dict)
    simulators: dict[Path, dict[str, Any]] = field(default_factory=dict)
    clients: dict[tuple[Path, Endpoint, tuple[str, ...]], Accounts] = field(default_factory=dict)

    def open(self, output_root: Path) -> tuple[Store, OpenAccounts]:
        """Return the locked state of a project, and how to open clients whose calls end early after `stop`."""
        root = output_root.resolve()
        if root not in self.states:
            place = find_state(output_root)
            self._check_project(root, place)
            self.states[root] = self.stack.enter_context(open_store(place))
        return self.states[root], partial(self._open_accounts, root)

    def _check_project(self, root: Path, place: StatePlace) -> None:
        """Raise UsageError if another folder of this command is the same project in a shared state."""
        if place.database is None:
            return
        first = self.shared.setdefault((place.database, place.project), root)
        if first != root:
            raise UsageError(
                f"{first} and {root} would both be the project {place.project!r} of the shared state: name "
                "a `project` in the runner.toml of each, instead of one for all"
            )

    def _open_accounts(self, root: Path, spec: "Spec") -> Accounts:
        if root not in self.simulators:
            folder = self.states[root].path
            self.simulators[root] = self.stack.enter_context(_find_simulator(folder, simulate=self.simulate))
        key = (root, spec.api, spec.betas)
        if key not in self.clients:
            self.clients[key] = _connect(self.stack, root, spec.api, self.simulators[root], spec.betas)
            self.clients[key].stop_at(self.stop)
        return self.clients[key]


@contextmanager
def open_projects(stop: Event, *, simulate: bool) -> Iterator[OpenProjects]:
    """Yield projects that are opened when needed, and closed at the end. Raises StateError for OSErrors."""
    try:
        with ExitStack() as stack:
            yield OpenProjects(stack, stop, simulate)
    except OSError as error:
        raise StateError(describe_os_error(error, "the state folder")) from error


@contextmanager
def open_project(output_root: Path, stop: Event, *, simulate: bool) -> Iterator[tuple[Store, OpenAccounts]]:
    """Open the state of a project, locked against other runners; see `OpenProjects.open`.

    Raises StateError for OSErrors.
    """
    try:
        with ExitStack() as stack:
            yield OpenProjects(stack, stop, simulate).open(output_root)
    except OSError as error:
        raise StateError(describe_os_error(error, output_root)) from error
