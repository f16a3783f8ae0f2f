"""The outputs of an undisturbed run, which those of a disturbed one must equal."""

import pytest

from tests.support.outputs import outputs
from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import simulator


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outputs of the job, run without a fault."""
    root = tmp_path_factory.mktemp("undisturbed")
    write_job(root)
    with simulator(root / "api") as environ:
        assert command(root, environ, *RUN).returncode == 0
    return outputs(root)
