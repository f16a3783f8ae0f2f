"""The folders of a project, real and simulated, and the client for each."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from runner.api.client import Api
from runner.api.connect import connect
from runner.spec.spec import Spec

SIMULATED_FOLDER = "simulated"


def with_simulated_paths(spec: Spec) -> Spec:
    """Return the spec to simulate, which reads the simulated output of the spec before it, if any."""
    output = spec.source.output
    if output is None:
        return spec
    path = Path(output)
    below = Path(SIMULATED_FOLDER) / (path.relative_to(path.anchor))
    return replace(spec, source=replace(spec.source, output=str(below)))


def find_output_root(spec: Spec, *, simulate: bool) -> Path:
    """Return the folder that contains `.runner/` and that output paths are relative to."""
    return spec.root / SIMULATED_FOLDER if simulate else spec.root


def write_gitignore(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")


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
