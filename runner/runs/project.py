"""The folders of a project, real and simulated, and the client for each."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

from runner.api.client import Api
from runner.api.connect import connect
from runner.errors import StateError
from runner.spec.spec import Spec
from runner.store.store import Store, open_store

SIMULATED_FOLDER = "simulated"
# A simulated batch takes about a second, and the simulator ends with the runner: no create can be late.
_SIMULATED_POLL, _SIMULATED_GRACE = 0.2, 2.0


def with_simulated_paths(spec: Spec) -> Spec:
    """Return the spec to simulate, which reads the simulated output of the spec before it, if any."""
    output = spec.source.output
    if output is None:
        return spec
    path = Path(output)
    below = Path(SIMULATED_FOLDER) / (path.relative_to(path.anchor))
    return replace(spec, source=replace(spec.source, output=str(below)))


def simulated_spec(spec: Spec) -> Spec:
    """Return the spec to run against the simulator: simulated paths, short pauses, no manual decisions."""
    grace_seconds = min(spec.batch.grace_seconds, _SIMULATED_GRACE)
    batch = replace(spec.batch, poll_seconds=_SIMULATED_POLL, grace_seconds=grace_seconds, on_unknown="resubmit")
    return replace(with_simulated_paths(spec), batch=batch)


def find_output_root(spec: Spec, *, simulate: bool) -> Path:
    """Return the folder that contains `.runner/` and that output paths are relative to."""
    return spec.root / SIMULATED_FOLDER if simulate else spec.root


def is_simulated_state(folder: Path) -> bool:
    """Return whether a state folder is that of the simulator."""
    return folder.parent.name == SIMULATED_FOLDER


def make_output_root(spec: Spec, *, simulate: bool) -> Path:
    """Return the folder of `find_output_root`; make it, ignored by git, if it is the one for simulations."""
    folder = find_output_root(spec, simulate=simulate)
    if simulate:
        folder.mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
    return folder


@contextmanager
def open_client(folder: Path, *, simulate: bool, betas: Sequence[str] = ()) -> Iterator[Api]:
    """Open a client of the API, or of a simulator that keeps its batches in the state folder `folder`."""
    with ExitStack() as stack:
        if simulate:
            # Imported here, so that `validate` does not wait for the import of an HTTP server.
            from runner.simulator.server import serve

            url = stack.enter_context(serve(folder / "simulator"))
            own = {"base_url": url, "api_key": "simulated", "name": "simulator"}
            yield stack.enter_context(connect(**own, betas=betas))
        else:
            yield stack.enter_context(connect(betas=betas))


@contextmanager
def open_project(
    output_root: Path, stop: Event, *, simulate: bool, betas: Sequence[str] = ()
) -> Iterator[tuple[Store, Api]]:
    """Open the state of a project, locked against other runners, and a client whose calls end early after `stop`.

    Raises StateError for OSErrors.
    """
    try:
        with (
            open_store(output_root / ".runner") as store,
            open_client(store.path, simulate=simulate, betas=betas) as api,
        ):
            api.stop = stop
            yield store, api
    except OSError as error:
        raise StateError(f"{error.filename or output_root}: {error.strerror or error}") from error
